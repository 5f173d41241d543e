"""Both hosts run the same handlers: the same request to equal backends gets the same reply, byte for byte."""

import json
import re
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nomadcrew.api.locations.routes import MAX_BATCH_BYTES
from nomadcrew.core.ids import uuid7
from nomadcrew.web.routes import MAX_BODY_BYTES
from tests.component.permission_matrix import LINES, Line, succeeding
from tests.component.requests import Ask, ask, encoded, scene
from tests.fakes import NOON
from tests.postgres import Postgres
from tests.world import Answer, World, world

# Tokens are random.
_SECRET = re.compile(rb'"(access_token|refresh_token|device_token|key|secret)":"[^"]+"')


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def twins(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, World]]:
    """Two backends with equal keys, clocks and ids, each with its own database and files."""
    homes = [tmp_path_factory.mktemp("twins") for _ in range(2)]
    async with world(postgres, homes[0], template=template) as one:
        shutil.copytree(homes[0] / "keys", homes[1] / "keys")
        async with world(postgres, homes[1], template=template) as other:
            yield one, other


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.row} {line.variant}".strip())
async def test_both_hosts_send_the_same_reply(twins: tuple[World, World], line: Line) -> None:
    one, other = twins
    for caller in {succeeding(line) or "OWNER", "outsider", "no token"}:
        tag = f"{LINES.index(line)}-{caller.replace(' ', '')}".lower()
        requests = [await ask(await scene(stage, tag), line.row, line.variant, caller) for stage in twins]
        host = await _send(one, requests[0])
        event = await _invoke(other, requests[1])
        assert (host.status, _masked(host.body)) == (event.status, _masked(event.body))
        assert _comparable(host) == _comparable(event)


async def test_both_hosts_parse_repeated_and_escaped_query_keys_alike(twins: tuple[World, World]) -> None:
    replies = []
    for stage in twins:
        play = await scene(stage, "query")
        path = f"/v1/trips/{play.trip}/todos?limit=1&limit=3&offset=%31&x=a+b%2C&flag"
        owner = play.people["OWNER"]
        replies.append(await (stage.call if stage is twins[0] else stage.invoke)("GET", path, by=owner))
    assert replies[0].body == replies[1].body
    assert replies[0].json["pagination"] == {"limit": 1, "offset": 1, "total": 5}


async def _send(stage: World, request: Ask) -> Answer:
    return await stage.call(
        request.method, request.path, by=request.by, raw=encoded(request), headers=dict(request.headers)
    )


async def _invoke(stage: World, request: Ask) -> Answer:
    return await stage.invoke(
        request.method, request.path, by=request.by, raw=encoded(request), headers=dict(request.headers)
    )


def _masked(body: bytes) -> bytes:
    return _SECRET.sub(rb"\1", body)


def _comparable(answer: Answer) -> dict[str, str]:
    """Headers except the length, which API Gateway adds."""
    return {name: value for name, value in answer.headers.items() if name != "content-length"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/v1/trips", 200),
        ("HEAD", "/v1/users/me", 200),
        ("HEAD", "/v1/nowhere", 404),
        ("DELETE", "/v1/trips", 405),
        ("OPTIONS", "/v1/trips", 204),
        ("PUT", "/v1/invitations/join", 405),
    ],
)
async def test_both_hosts_have_the_same_methods(here: World, method: str, path: str, status: int) -> None:
    ana = await here.user("ana")
    on_machine, on_aws = await here.call(method, path, by=ana), await here.invoke(method, path, by=ana)
    assert (on_machine.status, on_machine.body) == (on_aws.status, on_aws.body)
    assert on_machine.status == status
    assert on_machine.headers.get("allow") == on_aws.headers.get("allow")
    assert _comparable(on_machine).keys() == _comparable(on_aws).keys()


@pytest.mark.parametrize(
    ("path", "limit", "text"),
    [
        ("/v1/trips", MAX_BODY_BYTES, "The request body exceeds 128 KiB."),
        ("/v1/trips/{trip}/locations:batch", MAX_BATCH_BYTES, "The request body exceeds 192 KiB."),
    ],
)
async def test_both_hosts_refuse_the_same_bodies_as_too_large(
    here: World, path: str, limit: int, text: str
) -> None:
    ana = await here.user("ana")
    path = path.format(trip=await here.trip(ana))
    for send in (here.call, here.invoke):
        assert (await send("POST", path, by=ana, raw=b" " * limit)).code == "invalid_request_payload"
        refused = await send("POST", path, by=ana, raw=b" " * (limit + 1))
        assert (refused.status, refused.json["message"]) == (413, text)


async def test_both_hosts_pass_on_the_metadata_of_a_notification_as_it_is_stored(here: World) -> None:
    ana = await here.user("ana")
    metadata = {"tripName": 'Zoë\'s "Été" 🏕️\n', "updaterName": "Åsa", "count": 2**70, "nested": [{"a": None}]}
    async with here.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO notifications (id, user_id, type, metadata, created_at, updated_at)"
            " VALUES ($1, $2, 'TRIP_UPDATE', $3, $4, $4)",
            uuid7(), ana.id, json.dumps(metadata), NOON,
        )  # fmt: skip
    replies = [await send("GET", "/v1/notifications", by=ana) for send in (here.call, here.invoke)]
    assert replies[0].body == replies[1].body
    [notification] = replies[0].json
    assert notification["metadata"] == metadata
    assert notification["message"] == 'Åsa updated Zoë\'s "Été" 🏕️\n'
