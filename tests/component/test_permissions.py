"""The permission matrix: every row of the route table, by every caller, against hand-written expectations."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nomadcrew.api.table import ALL_ROUTES
from tests.component.permission_matrix import LINES, Line
from tests.component.requests import CALLERS, ask, encoded, scene
from tests.postgres import Postgres
from tests.world import World, world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    environment = {"NOMADCREW_RATE_LIMITS": "off"}
    home = tmp_path_factory.mktemp("matrix")
    async with world(postgres, home, template=template, environment=environment) as made:
        yield made


def test_the_matrix_has_exactly_the_rows_of_the_table() -> None:
    assert {line.row for line in LINES} == {route.key for route in ALL_ROUTES}


@pytest.mark.contract(
    "rest-core.feedback",
    "rest-core.onboard",
    "rest-core.me",
    "rest-core.search",
    "rest-core.contact-email",
    "rest-core.user",
    "rest-core.change-user",
    "rest-core.preferences",
    "rest-core.sync",
    "rest-core.push-token",
    "rest-core.create-trip",
    "rest-core.trip",
    "rest-core.change-trip",
    "rest-core.delete-trip",
    "rest-core.details",
    "rest-core.weather",
    "rest-core.members",
    "rest-core.add-member",
    "rest-core.add-member.refused",
    "rest-core.remove-member",
    "rest-core.remove-member.client-leave",
    "rest-core.role",
    "rest-core.role.refused",
    "rest-core.invite",
    "rest-core.invitations",
    "rest-core.revoke",
    "rest-core.revoke.fix-trip",
    "rest-core.join-link",
    "rest-core.invitation-by-token",
    "rest-core.accept-by-token.fix",
    "rest-core.accept",
    "rest-core.decline",
    "rest-core.invitation",
    "rest-core.gate",
    "permissions.trip.create",
    "permissions.trip.read",
    "permissions.trip.update",
    "permissions.trip.delete",
    "permissions.member.read",
    "permissions.member.create",
    "permissions.member.remove",
    "permissions.member.change-role",
    "permissions.member.leave",
    "permissions.invitation",
    "permissions.invitation.answer",
    "permissions.invitation.public",
    "permissions.chat.create",
    "permissions.chat.read",
    "permissions.chat.update",
    "permissions.chat.delete",
    "permissions.todo.create-read",
    "permissions.todo.update-delete",
    "permissions.poll.create-read",
    "permissions.poll.update-delete",
    "permissions.location",
    "permissions.document.group",
    "permissions.document.own",
    "permissions.notification",
    "permissions.user.self",
    "permissions.user.list",
    "permissions.public",
    "permissions.active-only",
    "permissions.codes",
    "permissions.owner-immutable",
    "permissions.last-owner",
    "permissions.fix-invitation-role",
    "permissions.fix-revoke",
    "rest-activity.guards",
    "rest-activity.chat.send",
    "rest-activity.chat.list",
    "rest-activity.chat.read",
    "rest-activity.chat.react",
    "rest-activity.chat.unreact",
    "rest-activity.chat.reactions",
    "rest-activity.chat.edit",
    "rest-activity.chat.delete",
    "rest-activity.locations.post",
    "rest-activity.locations.put",
    "rest-activity.locations.list",
    "rest-activity.locations.legacy",
    "rest-activity.todos.create",
    "rest-activity.todos.list",
    "rest-activity.todos.get",
    "rest-activity.todos.change",
    "rest-activity.todos.delete",
    "rest-activity.polls.list",
    "rest-activity.polls.create",
    "rest-activity.polls.get",
    "rest-activity.polls.change",
    "rest-activity.polls.delete",
    "rest-activity.polls.vote",
    "rest-activity.polls.unvote",
    "rest-activity.polls.close",
    "rest-activity.wallet.upload",
    "rest-activity.wallet.upload.group",
    "rest-activity.wallet.list",
    "rest-activity.wallet.get",
    "rest-activity.wallet.change",
    "rest-activity.wallet.delete",
    "rest-activity.notifications.list",
    "rest-activity.notifications.unread",
    "rest-activity.notifications.read",
    "rest-activity.notifications.read-all",
    "rest-activity.notifications.delete",
)
@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.row} {line.variant}".strip())
async def test_every_caller_gets_the_status_of_the_matrix(stage: World, line: Line) -> None:
    play = None
    # Those who are refused come first: they change nothing, so that all of them share a scene.
    for caller, (status, code) in sorted(line.cells.items(), key=lambda cell: cell[1][0], reverse=True):
        if play is None:
            play = await scene(stage, f"{LINES.index(line)}-{CALLERS.index(caller)}")
        request = await ask(play, line.row, line.variant, caller)
        before = await stage.snapshot()
        reply = await stage.call(
            request.method, request.path, by=request.by, raw=encoded(request), headers=dict(request.headers)
        )
        assert (reply.status, reply.code if code else None) == (status, code), (caller, reply.body)
        if status >= 400:
            assert await stage.snapshot() == before, f"{caller} was refused, but the database changed"
        elif not line.row.startswith("GET "):
            play = None
