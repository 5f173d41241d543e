"""ETag and If-Match: a write that would undo what its client has not seen is refused."""

from typing import Any
from uuid import uuid4

import pytest

from tests.component.synced import Crew, SyncedCopy, crew_of
from tests.world import Answer, World


class Entity:
    """A path of an entity, and two fields of it with other values than the stored ones."""

    def __init__(self, path: str, first: dict[str, Any], second: dict[str, Any]) -> None:
        self.path = path
        self.first = first
        self.second = second


async def entity(crew: Crew, kind: str) -> Entity:
    match kind:
        case "trip":
            return Entity(crew.path, {"name": "Lisbon"}, {"description": "by bus"})
        case "todo":
            return Entity(f"{crew.path}/todos/{await crew.todo()}", {"text": "pack light"}, {"status": "COMPLETE"})
        case "document":
            document = await crew.document("Tickets")
            return Entity(f"/v1/wallet/documents/{document}", {"name": "Train"}, {"description": "two seats"})
        case "profile":
            return Entity(f"/v1/users/{crew.ana.id}", {"firstName": "Anna"}, {"lastName": "Sousa"})
        case _:
            poll = await crew.poll()
            return Entity(f"{crew.path}/polls/{poll['id']}", {"question": "Where?"}, {})


KINDS = ("trip", "todo", "document", "profile", "poll")


async def put(crew: Crew, path: str, body: object, etag: str | None) -> Answer:
    """An update by ana a second later."""
    crew.here.clock.advance(1)
    headers = {} if etag is None else {"if-match": etag}
    return await crew.here.call("PUT", path, by=crew.ana, body=body, headers=headers)


async def get(crew: Crew, path: str) -> Answer:
    reply = await crew.here.call("GET", path, by=crew.ana)
    assert reply.status == 200, reply.body
    return reply


@pytest.mark.parametrize("kind", KINDS)
async def test_a_lost_update_is_refused_with_both_versions(here: World, kind: str) -> None:
    crew = await crew_of(here)
    one = await entity(crew, kind)
    seen = (await get(crew, one.path)).headers["etag"]
    first = await put(crew, one.path, one.first, seen)
    assert first.status == 200, first.body
    assert first.headers["etag"] == (await get(crew, one.path)).headers["etag"] != seen
    [(field, _)] = one.first.items()
    refused = await put(crew, one.path, {field: "something else"}, seen)
    assert (refused.status, refused.code) == (409, "version_conflict")
    assert refused.json["sent"] == {field: "something else"}
    current = {name: value for name, value in refused.json["current"].items() if name != "downloadUrl"}
    stored = await get(crew, one.path)
    assert current == {name: value for name, value in stored.json.items() if name != "downloadUrl"}
    assert refused.headers["etag"] == stored.headers["etag"]
    again = await put(crew, one.path, {field: "something else"}, refused.headers["etag"])
    assert (again.status, again.json[field]) == (200, "something else")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "poll"])
async def test_changes_of_different_fields_are_merged(here: World, kind: str) -> None:
    crew = await crew_of(here)
    one = await entity(crew, kind)
    seen = (await get(crew, one.path)).headers["etag"]
    for body in (one.first, one.second):
        reply = await put(crew, one.path, body, seen)
        assert reply.status == 200, reply.body
    assert (one.first | one.second).items() <= (await get(crew, one.path)).json.items()


@pytest.mark.parametrize("kind", KINDS)
async def test_without_a_version_the_last_write_counts(here: World, kind: str) -> None:
    crew = await crew_of(here)
    one = await entity(crew, kind)
    [(field, _)] = one.first.items()
    for etag, value in ((None, "one"), ("*", "two")):
        reply = await put(crew, one.path, {field: value}, etag)
        assert (reply.status, reply.json[field]) == (200, value)


async def test_the_value_that_is_stored_already_is_no_conflict(here: World) -> None:
    crew = await crew_of(here)
    one = await entity(crew, "todo")
    seen = (await get(crew, one.path)).headers["etag"]
    for _ in range(2):
        assert (await put(crew, one.path, one.first, seen)).status == 200


async def test_a_removed_value_conflicts_with_a_later_one(here: World) -> None:
    crew = await crew_of(here)
    path = f"{crew.path}/todos/{await crew.todo(position=1.5)}"
    seen = (await get(crew, path)).headers["etag"]
    assert (await put(crew, path, {"position": 2.5}, seen)).status == 200
    assert (await put(crew, path, {"position": None}, seen)).code == "version_conflict"


async def test_a_version_of_the_future_is_a_conflict(here: World) -> None:
    crew = await crew_of(here)
    one = await entity(crew, "todo")
    for etag in ('"7000000000000"', '"ffffffffffffff"'):
        assert (await put(crew, one.path, one.first, etag)).code == "version_conflict"


@pytest.mark.parametrize("etag", ["x", '""', 'W/"1"', '"1", "2"', '"ABC"', '"fffffffffffffff"'])
async def test_a_header_that_is_no_version_is_refused(here: World, etag: str) -> None:
    crew = await crew_of(here)
    one = await entity(crew, "todo")
    assert (await put(crew, one.path, one.first, etag)).code == "invalid_if_match"


async def test_a_status_is_a_field_of_the_trip(here: World) -> None:
    crew = await crew_of(here)
    seen = (await get(crew, crew.path)).headers["etag"]
    here.clock.advance(1)
    headers = {"if-match": seen}
    ask = ("PATCH", f"{crew.path}/status")
    assert (await here.call(*ask, by=crew.ana, body={"status": "ACTIVE"}, headers=headers)).status == 200
    refused = await here.call(*ask, by=crew.ana, body={"status": "CANCELLED"}, headers=headers)
    assert (refused.status, refused.json["current"]["status"]) == (409, "ACTIVE")


async def test_rights_come_before_versions(here: World) -> None:
    crew = await crew_of(here)
    one = await entity(crew, "todo")
    seen = {"if-match": (await get(crew, one.path)).headers["etag"]}
    await put(crew, one.path, one.first, None)
    cleo = await here.user("cleo")
    refused = await here.call("PUT", one.path, by=cleo, body={"text": "mine"}, headers=seen)
    assert (refused.status, "current" in refused.json) == (403, False)
    missing = await here.call("PUT", f"{crew.path}/todos/{uuid4()}", by=crew.ana, body={"text": "x"}, headers=seen)
    assert missing.status == 404


async def test_a_synchronised_copy_has_the_versions(here: World) -> None:
    crew = await crew_of(here)
    paths = {kind: (await entity(crew, kind)).path for kind in KINDS}
    copy = await SyncedCopy(here, crew.ana).sync()
    tags = {change["kind"]: change["etag"] for change in copy.changes if "etag" in change}
    assert tags == {kind: (await get(crew, path)).headers["etag"] for kind, path in paths.items()}
