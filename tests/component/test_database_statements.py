"""The number of SQL statements per request: one, or the number that the row declares."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from nomadcrew.api.table import ALL_ROUTES
from tests.component.permission_matrix import Line, successes
from tests.component.requests import ask, encoded, scene
from tests.postgres import Postgres
from tests.world import World, world

ROUTES = {route.key: route for route in ALL_ROUTES}
# Rows that succeed for no caller of a scene: a confirmation code exists only in a mail; no caller is administrator,
# or has an account with a password, an app, an identity or a passkey.
UNREACHED = {
    "POST /contact-email/confirm/{token}",
    "GET /contact-email/confirm/{token}",
    "POST /v1/auth/confirm",
    "GET /auth/confirm/{token}",
    "GET /auth/reset/{token}",
    "POST /auth/reset/{token}",
    "POST /v1/auth/reset-password",
    "DELETE /v1/users/me",
    "POST /v1/auth/change-password",
    "POST /auth/confirm/{token}",
    "POST /v1/auth/change-email",
    "POST /v1/auth/change-email/confirm",
    "GET /auth/email/{token}",
    "POST /auth/email/{token}",
    "POST /v1/auth/mfa/totp",
    "POST /v1/auth/mfa/totp/confirm",
    "DELETE /v1/auth/mfa/totp",
    "POST /v1/auth/mfa/verify",
    "POST /v1/auth/identities",
    "POST /v1/auth/identities/sign-in",
    "DELETE /v1/auth/identities/{provider}",
    "POST /v1/auth/passkeys",
    "POST /v1/auth/passkeys/options",
    "POST /v1/auth/passkeys/sign-in",
    "PATCH /v1/auth/passkeys/{passkeyId}",
    "DELETE /v1/auth/passkeys/{passkeyId}",
    "GET /v1/users",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with world(postgres, tmp_path_factory.mktemp("statements"), template=template) as made:
        yield made


def test_every_row_is_covered() -> None:
    assert {line.row for line, _ in successes()} | UNREACHED == set(ROUTES)


@pytest.mark.parametrize("success", successes(), ids=lambda success: success[0].row)
async def test_a_request_runs_the_declared_number_of_statements(stage: World, success: tuple[Line, str]) -> None:
    line, caller = success
    request = await ask(await scene(stage, str(successes().index(success))), line.row, line.variant, caller)
    reply = await stage.call(
        request.method, request.path, by=request.by, raw=encoded(request), headers=dict(request.headers)
    )
    assert reply.status < 400, reply.body
    assert len(stage.statements) == ROUTES[line.row].statements, stage.statements


async def test_the_list_of_users_takes_one_statement(stage: World) -> None:
    ana = await stage.user("root")
    admin = replace(ana, token=await stage.token(ana.id, ana.username, is_admin=True))
    assert (await stage.call("GET", "/v1/users", by=admin)).status == 200
    assert len(stage.statements) == 1
