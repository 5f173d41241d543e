"""Every write is safe to repeat."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nomadcrew.api.table import ALL_ROUTES
from tests.component.permission_matrix import Line, successes
from tests.component.requests import Ask, ask, encoded, scene
from tests.postgres import Postgres
from tests.world import Answer, World, world

ROUTES = {route.key: route for route in ALL_ROUTES}
WRITES = [(line, caller) for line, caller in successes() if ROUTES[line.row].mutates]

# Rows that ignore the Idempotency-Key, with the reason.
NEVER = {
    "POST /v1/trips/{id}/weather/trigger": "it only reads, and a stored reply would be old weather",
    "POST /v1/auth/register": "the reply holds credentials; the same registration signs in again",
    "POST /v1/auth/login": "the reply holds credentials; a second session is harmless",
    "POST /v1/auth/refresh": "the reply holds credentials; a spent token is exchanged again for 30 s",
    "POST /v1/auth/logout": "the body is a credential; an ended session stays ended",
    "POST /v1/auth/resend": "a repeat within five minutes sends no mail",
    "POST /v1/auth/forgot-password": "a repeat within five minutes sends no mail",
    "POST /v1/auth/reset-password": "the code works once; the body holds a password",
    "DELETE /v1/users/me": "it is more than one transaction; a deletion stays requested",
    "POST /v1/auth/change-password": "the reply holds credentials",
    "POST /v1/auth/change-email": "the body holds a password; a repeat within five minutes sends no mail",
    "POST /v1/auth/change-email/confirm": "the code works once",
    "POST /v1/auth/passkeys/sign-in/options": "the reply holds a credential; a second challenge is harmless",
    "POST /v1/auth/passkeys/sign-in": "the reply holds credentials; a challenge is answered once",
    "POST /v1/auth/passkeys/options": "the body holds a password; a second challenge is harmless",
    "POST /v1/auth/passkeys": "a challenge is answered once; a stored passkey stays stored",
    "POST /v1/auth/identities/nonce": "the reply holds a credential; a second nonce is harmless",
    "POST /v1/auth/identities/sign-in": "the reply holds credentials; a token works once",
    "POST /v1/auth/identities": "the body holds a password; a linked identity stays linked",
    "POST /v1/auth/mfa/totp": "the reply holds credentials; a repeat replaces the unconfirmed app",
    "POST /v1/auth/mfa/totp/confirm": "the body is a credential; a confirmed app stays confirmed",
    "DELETE /v1/auth/mfa/totp": "the body is a credential; a code works once",
    "POST /v1/auth/mfa/verify": "the reply holds credentials; a code works once",
    "POST /auth/email/{token}": "a form: browsers send no key; the code works once",
    "POST /v1/auth/keys": "the reply holds credentials; a name is one key",
    "POST /v1/trips/{id}/webhooks": "the reply holds credentials; a URL is one webhook",
    "POST /auth/reset/{token}": "a form: browsers send no key; the code works once",
    "POST /v1/auth/confirm": "the code works once; the reply holds credentials",
    "POST /v1/trips:import": "it is more than one transaction; the same archive is one trip for a day",
    "POST /v1/trips:import:presign": "the reply holds credentials; the same body reserves one upload",
    "POST /v1/trips:import:complete": "it is more than one transaction; the same archive is one trip for a day",
    "POST /v1/wallet/documents": "the reply holds a token, and the row is committed before its file is stored",
    "POST /v1/trips/{id}/wallet/documents": "the reply holds a token, and the row is committed before its file",
    "POST /v1/wallet/documents:presign": "the reply holds credentials; the same body reserves one document",
    "POST /v1/trips/{id}/wallet/documents:presign": "the reply holds credentials; the same body reserves one",
    "POST /v1/wallet/documents:complete": "the reply holds a token; a complete document stays complete",
    "DELETE /v1/wallet/documents/{documentId}": "the file is deleted after the commit; a second one finds no row",
    "POST /v1/trips/{id}/images": "the reply holds links, and the row is committed before its file is stored",
    "POST /v1/trips/{id}/images:presign": "the reply holds credentials; the same body reserves one photo",
    "POST /v1/trips/{id}/images:complete": "the reply holds links; a complete photo stays complete",
    "DELETE /v1/trips/{id}/images/{imageId}": "the files are deleted after the commit; a second one finds no row",
    "POST /v1/users/me/avatar": "the row is committed before its file is stored",
    "POST /invite/accept/{token}": "a form: browsers send no key; the second post signs in and is on the trip",
    "POST /contact-email/confirm/{token}": "a form: browsers send no key; an address is confirmed once",
    "POST /auth/confirm/{token}": "a form: browsers send no key; the code works once",
}
# Rows whose second reply without a key differs, with the reason. The write happens once all the same.
DIFFERENTLY = {
    "DELETE /v1/trips/{id}": (404, "a deleted row is not found"),
    "DELETE /v1/trips/{id}/members/{userId}": (404, "a deleted row is not found"),
    "DELETE /v1/auth/sessions/{sessionId}": (404, "an ended session is not found"),
    "POST /v1/trips/{id}/webhooks": (409, "a secret is shown once; the URL has its webhook"),
    "DELETE /v1/trips/{id}/webhooks/{webhookId}": (404, "a deleted row is not found"),
    "POST /v1/trips/{id}/webhooks/{webhookId}/deliveries:redeliver": (
        202,
        "the reply counts what this request changed",
    ),
    "POST /v1/auth/keys": (409, "a key is shown once; its name is taken"),
    "DELETE /v1/auth/keys/{keyId}": (404, "a deleted row is not found"),
    "DELETE /v1/trips/{id}/todos/{todoId}": (404, "a deleted row is not found"),
    "DELETE /v1/wallet/documents/{documentId}": (404, "a deleted row is not found"),
    "DELETE /v1/trips/{id}/images/{imageId}": (404, "a deleted row is not found"),
    "DELETE /v1/trips/{id}/polls/{pollId}": (404, "a deleted row is not found"),
    "DELETE /v1/trips/{id}/polls/{pollId}/vote/{optionId}": (404, "a deleted row is not found"),
    "DELETE /v1/notifications/{notificationId}": (404, "a deleted row is not found"),
    "DELETE /v1/trips/{id}/invitations/{invitationId}": (400, "the contract: the invitation is no longer pending"),
    "PATCH /v1/trips/{id}/status": (400, "the contract: the present status is refused"),
    "PATCH /v1/notifications/read-all": (200, "the reply counts what this request changed"),
    "DELETE /v1/notifications": (200, "the reply counts what this request changed"),
}
# These rows create new tokens, sessions or nonces at each call.
FRESH = (
    "POST /v1/auth/register", "POST /v1/auth/login", "POST /v1/auth/refresh", "POST /v1/auth/identities/nonce",
    "POST /v1/auth/passkeys/sign-in/options",
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    environment = {"NOMADCREW_RATE_LIMITS": "off"}
    async with world(
        postgres, tmp_path_factory.mktemp("replays"), template=template, environment=environment
    ) as made:
        yield made


def name_of(write: tuple[Line, str]) -> str:
    return write[0].row


async def set_up(stage: World, write: tuple[Line, str], kind: str) -> Ask:
    line, caller = write
    variant = "a member" if line.row.startswith("DELETE /v1/trips/{id}/members") else line.variant
    who = "OWNER" if variant == "a member" else caller
    return await ask(await scene(stage, f"{WRITES.index(write)}-{kind}"), line.row, variant, who)


async def send(stage: World, request: Ask, **headers: str) -> Answer:
    sent = dict(request.headers) | {name.replace("_", "-"): value for name, value in headers.items()}
    return await stage.call(request.method, request.path, by=request.by, raw=encoded(request), headers=sent)


def test_every_row_without_stored_replies_has_a_reason() -> None:
    assert {route.key for route in ALL_ROUTES if not route.idempotency.takes_key} == set(NEVER)


@pytest.mark.contract("rest-activity.client-retries")
@pytest.mark.parametrize("write", [w for w in WRITES if w[0].row not in NEVER], ids=name_of)
async def test_a_write_repeated_with_a_key_happens_once_with_the_same_reply(
    stage: World, write: tuple[Line, str]
) -> None:
    request = await set_up(stage, write, "key")
    first = await send(stage, request, idempotency_key=f"key {write[0].row}")
    assert first.status < 300, first.body
    after = await stage.snapshot()
    again = await send(stage, request, idempotency_key=f"key {write[0].row}")
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers.get("content-type") == first.headers.get("content-type")
    assert await stage.snapshot() == after


@pytest.mark.contract("rest-activity.client-retries")
@pytest.mark.parametrize("write", WRITES, ids=name_of)
async def test_a_write_repeated_without_a_key_happens_once(stage: World, write: tuple[Line, str]) -> None:
    row = write[0].row
    request = await set_up(stage, write, "bare")
    first = await send(stage, request)
    assert first.status < 300, first.body
    ignored = ("refresh_tokens", "sessions") if row in FRESH else ()
    after = await stage.snapshot(without=ignored)
    again = await send(stage, request)
    assert await stage.snapshot(without=ignored) == after
    if row in DIFFERENTLY:
        assert again.status == DIFFERENTLY[row][0]
    elif row in FRESH:
        assert again.status == first.status
        assert again.json.get("user") == first.json.get("user")
    else:
        assert (again.status, again.body) == (first.status, first.body)


@pytest.mark.parametrize("row", ["POST /v1/trips", "POST /v1/trips/{id}/todos"])
async def test_different_keys_create_different_rows(stage: World, row: str) -> None:
    [write] = [w for w in WRITES if w[0].row == row]
    request = await set_up(stage, write, "two")
    first = await send(stage, request, idempotency_key="one")
    second = await send(stage, request, idempotency_key="two")
    assert first.json["id"] != second.json["id"]


async def test_a_key_used_for_another_request_is_refused_and_changes_nothing(stage: World) -> None:
    play = await scene(stage, "reused")
    owner, path = play.people["OWNER"], f"/v1/trips/{play.trip}/todos"
    headers = {"idempotency-key": "once"}
    assert (await stage.call("POST", path, by=owner, body={"text": "a"}, headers=headers)).status == 201
    before = await stage.snapshot()
    reply = await stage.call("POST", path, by=owner, body={"text": "b"}, headers=headers)
    assert (reply.status, reply.code) == (422, "idempotency_key_reused")
    assert await stage.snapshot() == before


async def test_a_key_belongs_to_its_user(stage: World) -> None:
    play = await scene(stage, "private")
    path, headers = f"/v1/trips/{play.trip}/todos", {"idempotency-key": "shared"}
    mine = await stage.call("POST", path, by=play.people["OWNER"], body={"text": "a"}, headers=headers)
    theirs = await stage.call("POST", path, by=play.people["MEMBER"], body={"text": "a"}, headers=headers)
    assert (mine.status, theirs.status) == (201, 201)
    assert mine.json["id"] != theirs.json["id"]


async def test_a_refusal_is_not_stored(stage: World) -> None:
    play = await scene(stage, "refused")
    path, headers = f"/v1/trips/{play.trip}/todos", {"idempotency-key": "again"}
    guest = play.people["outsider"]
    assert (await stage.call("POST", path, by=guest, body={"text": "a"}, headers=headers)).status == 403
    await stage.join(play.trip, play.people["OWNER"], guest)
    assert (await stage.call("POST", path, by=guest, body={"text": "a"}, headers=headers)).status == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
async def test_a_malformed_key_is_refused(stage: World, key: str) -> None:
    play = await scene(stage, f"form{len(key)}")
    path = f"/v1/trips/{play.trip}/todos"
    reply = await stage.call(
        "POST", path, by=play.people["OWNER"], body={"text": "a"}, headers={"idempotency-key": key}
    )
    assert (reply.status, reply.code) == (400, "invalid_idempotency_key")
