"""Export and import of trips on the machine host."""

import json
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from nomadcrew.core.archives import upkeep
from nomadcrew.core.archives.limits import MAX_ARCHIVE_BYTES
from tests.archives import TRIP, comparable, content, rezipped, zipped
from tests.component.document_crew import Crew, crew_of
from tests.postgres import Postgres
from tests.sample_files import JPEG_OF_A_PHONE, PDF
from tests.world import Answer, World, world

ZIP = {"content-type": "application/zip"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, Path]]:
    home = tmp_path_factory.mktemp("archives")
    async with world(postgres, home, template=template, environment={"NOMADCREW_RATE_LIMITS": "off"}) as made:
        yield made, home


@pytest_asyncio.fixture(loop_scope="session")
async def crew(stage: tuple[World, Path]) -> Crew:
    return await crew_of(*stage)


async def export(crew: Crew, by: str = "ana", trip: object = None, query: str = "") -> Answer:
    return await crew.call("GET", f"/v1/trips/{trip or crew.trip}/export{query}", by)


async def exported(crew: Crew, by: str = "ana", trip: object = None, query: str = "") -> bytes:
    reply = await export(crew, by, trip, query)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/zip"), reply.body
    return reply.body


async def send(crew: Crew, archive: bytes, by: str = "ana") -> Answer:
    return await crew.world.call("POST", "/v1/trips:import", by=crew.people[by], raw=archive, headers=ZIP)


async def imported(crew: Crew, archive: bytes, by: str = "ana") -> dict[str, Any]:
    reply = await send(crew, archive, by)
    assert reply.status == 201, reply.body
    return dict(reply.json["trip"])


async def ok(crew: Crew, method: str, path: str, by: str, body: object = None) -> Any:
    """A successful request on the trip. The clock moves, so that no two things have one time."""
    crew.world.clock.advance(1)
    reply = await crew.call(method, f"/v1/trips/{crew.trip}{path}", by, body)
    assert reply.status < 300, reply.body
    return reply.json if reply.body else None


async def fill(crew: Crew) -> None:
    """A trip with something of everything."""
    await ok(crew, "POST", "/todos", "ben", {"text": "=2+2", "dueAt": "2026-12-01T10:00:00Z"})
    await ok(crew, "POST", "/todos", "ana", {"text": "book the train", "assigneeId": str(crew.people["ana"].id)})
    poll = await ok(crew, "POST", "/polls", "ben", {"question": "How?", "options": ["bus", "train"]})
    await ok(crew, "POST", f"/polls/{poll['id']}/vote", "ana", {"optionId": poll["options"][0]["id"]})
    crew.world.clock.advance(1)
    await crew.uploaded("ana", crew.group, PDF, name="Tickets")
    crew.world.clock.advance(1)
    photo = await crew.world.call(
        "POST", f"/v1/trips/{crew.trip}/images", by=crew.people["ben"], raw=JPEG_OF_A_PHONE,
        headers={"content-type": "image/jpeg"},
    )  # fmt: skip
    assert photo.status == 201, photo.body
    await ok(crew, "PUT", "/meeting-point", "ben", {"latitude": 41.1, "longitude": -8.6, "name": "Station"})
    said = [await ok(crew, "POST", "/chat/messages", by, {"message": f"hi from {by}"}) for by in ("ana", "ben")]
    crew.world.clock.advance(1)
    picture = await crew.world.call(
        "POST", f"/v1/trips/{crew.trip}/chat/attachments", by=crew.people["ben"], raw=JPEG_OF_A_PHONE,
        headers={"content-type": "image/jpeg"},
    )  # fmt: skip
    await ok(crew, "POST", "/chat/messages", "ben", {"message": "", "attachmentId": picture.json["id"]})
    own, other = (message["id"] for message in said)
    await ok(crew, "PUT", f"/chat/messages/{own}", "ana", {"message": "edited"})
    await ok(crew, "PUT", f"/chat/messages/{other}", "ben", {"message": "also edited"})
    await ok(crew, "POST", f"/chat/messages/{other}/reactions", "ana", {"emoji": "👍"})
    await ok(crew, "POST", "/chat/messages", "ben", {"message": "an answer", "replyToId": own})
    gone = await ok(crew, "POST", "/chat/messages", "ana", {"message": "a mistake"})
    await ok(crew, "DELETE", f"/chat/messages/{gone['id']}", "ana")
    await ok(crew, "POST", "/locations", "ana", {"latitude": 41.2, "longitude": -8.7, "accuracy": 5})


async def test_an_import_of_an_export_equals_the_trip(crew: Crew) -> None:
    await fill(crew)
    archive = await exported(crew)
    trip = await imported(crew, archive)
    assert [(member["userId"], member["role"]) for member in trip["members"]] == [
        (str(crew.people["ana"].id), "OWNER")
    ]
    original, copy = content(archive), content(await exported(crew, trip=trip["id"]))
    assert original["positions"]
    assert comparable(copy) == comparable(original)
    assert copy["trip"]["id"] != original["trip"]["id"]


async def test_an_archive_has_everything_that_its_caller_may_see(crew: Crew) -> None:
    await fill(crew)
    archive = content(await exported(crew))
    names = {person["id"]: person["name"] for person in archive["people"]}
    first, second, third, answer, gone = archive["messages"]
    assert (first["text"], [edit["text"] for edit in first["edits"]]) == ("edited", ["hi from ana"])
    assert (second["text"], "edits" in second) == ("also edited", False)  # the earlier texts are its author's
    assert [(one["emoji"], names[one["userId"]]) for one in second["reactions"]] == [
        ("👍", names[str(crew.people["ana"].id)])
    ]
    assert third["attachment"]["mediaType"] == "image/jpeg"
    assert answer["replyToId"] == first["id"]
    assert (gone["text"], "deletedAt" in gone) == ("Message deleted", True)
    assert archive["polls"][0]["options"][0]["votes"][0]["userId"] == str(crew.people["ana"].id)
    assert archive["meetingPoint"]["name"] == "Station"
    assert (await exported(crew, "ben")) != b""
    assert content(await exported(crew, "ben"))["positions"] == []  # those of others are not exported


async def test_an_export_of_a_document_is_in_its_audit(crew: Crew) -> None:
    document = await crew.uploaded("ana", crew.group)
    await exported(crew, "ben")
    assert ("download", crew.people["ben"].id) in await crew.audit("ana", document["id"])


async def test_an_export_without_files_names_none_and_their_number_is_returned(crew: Crew) -> None:
    await fill(crew)
    archive = await exported(crew, query="?files=false")
    with zipfile.ZipFile(BytesIO(archive)) as file:
        assert sorted(file.namelist()) == ["places.geojson", "todos.csv", "track.gpx", "trip.ics", "trip.json"]
    reply = await send(crew, archive)
    assert (reply.status, reply.json["missingFiles"]) == (201, 3), reply.body
    copy = content(await exported(crew, trip=reply.json["trip"]["id"]))
    assert copy["documents"] == []
    assert [message["text"] for message in copy["messages"]][2].endswith(".jpg")


async def test_other_people_stay_names_that_no_search_finds(crew: Crew) -> None:
    await fill(crew)
    trip = await imported(crew, await exported(crew), by="cleo")
    reply = await crew.call("GET", f"/v1/trips/{trip['id']}/chat/messages", "cleo")
    senders = {message["sender"]["name"] for message in reply.json["messages"]}
    people = crew.people
    assert senders == {people["ana"].username.title(), people["ben"].username.title()}
    stand_in = next(message["sender"]["id"] for message in reply.json["messages"])
    assert UUID(stand_in) not in {person.id for person in people.values()}
    for word in ("imported", "imported-", people["ben"].username):
        found = (await crew.call("GET", f"/v1/users/search?q={word}", "cleo")).json
        assert stand_in not in json.dumps(found)
    for path, body in (
        (f"/v1/trips/{trip['id']}/members", {"userId": stand_in, "role": "MEMBER"}),
        (f"/v1/trips/{trip['id']}/invitations", {"userId": stand_in, "role": "MEMBER"}),
    ):
        assert (await crew.call("POST", path, "cleo", body)).status in (400, 404)


async def test_the_same_archive_twice_is_one_trip_until_it_is_deleted(crew: Crew) -> None:
    await fill(crew)
    archive = await exported(crew)
    first = await imported(crew, archive)
    assert (await imported(crew, archive))["id"] == first["id"]
    assert (await imported(crew, archive, by="ben"))["id"] != first["id"]
    await crew.call("DELETE", f"/v1/trips/{first['id']}", "ana")
    assert (await imported(crew, archive))["id"] != first["id"]


async def test_an_import_is_published_as_a_new_trip_and_nothing_else(crew: Crew) -> None:
    await fill(crew)
    archive = await exported(crew)
    trip = await imported(crew, archive)
    async with crew.world.pool.connection() as connection:
        rows = await connection.fetch("SELECT type FROM outbox WHERE trip_id = $1", UUID(trip["id"]))
    assert [row[0] for row in rows] == ["TRIP_CREATED"]
    listed = (await crew.call("GET", "/v1/trips", "ana")).json
    assert trip["id"] in {item["id"] for item in listed}


async def test_a_blind_ballot_stays_hidden(crew: Crew) -> None:
    body = {"question": "Where?", "options": ["here", "there"], "ballot": "blind"}
    poll = await ok(crew, "POST", "/polls", "ana", body)
    for by, option in (("ana", 0), ("ben", 1)):
        await ok(crew, "POST", f"/polls/{poll['id']}/vote", by, {"optionId": poll["options"][option]["id"]})
    [archived] = content(await exported(crew))["polls"]
    votes = [vote["userId"] for option in archived["options"] for vote in option.get("votes", ())]
    assert votes == [str(crew.people["ana"].id)]


async def test_only_members_export_a_trip(crew: Crew) -> None:
    reply = await export(crew, "cleo")
    assert (reply.status, reply.code) == (403, "not_trip_member")


async def test_an_unfinished_import_is_invisible_and_continues(crew: Crew) -> None:
    await fill(crew)
    archive = await exported(crew)
    damaged = JPEG_OF_A_PHONE[:-4] + b"\0\0\0\0"
    broken = rezipped(archive, lambda name, data: damaged if name.endswith(".jpg") else data)
    reply = await send(crew, broken)
    assert reply.status == 400, reply.body
    before = {trip["id"] for trip in (await crew.call("GET", "/v1/trips", "ana")).json}
    trip = await imported(crew, archive)
    assert trip["id"] not in before


async def test_a_sweep_between_two_attempts_loses_no_file(crew: Crew) -> None:
    await fill(crew)
    archive = await exported(crew)
    trip = await imported(crew, archive)
    [document] = content(await exported(crew, trip=trip["id"]))["documents"]
    # As if the first attempt had crashed before its end, and the sweep of deleted trips had come.
    async with crew.world.pool.connection() as connection:
        await connection.execute("UPDATE trips SET deleted_at = now() WHERE id = $1", UUID(trip["id"]))
        await connection.execute("DELETE FROM trip_memberships WHERE trip_id = $1", UUID(trip["id"]))
        await connection.execute("UPDATE trip_imports SET finished_at = NULL WHERE trip_id = $1", UUID(trip["id"]))
    await crew.sweep()
    async with crew.world.pool.connection() as connection:
        deleted_at = "SELECT deleted_at FROM documents WHERE id = $1"
        assert await connection.fetchval(deleted_at, UUID(document["id"])) is not None
    (crew.files / document["id"]).unlink()
    assert (await imported(crew, archive))["id"] == trip["id"]
    assert comparable(content(await exported(crew, trip=trip["id"]))) == comparable(content(archive))


async def test_hostile_archives_are_refused_with_400_or_413(crew: Crew) -> None:
    before = await crew.world.snapshot()
    for archive, status, code in (
        (b"", 400, "invalid_archive"),
        (b"PK", 400, "invalid_archive"),
        (zipped({**TRIP, "version": 2}), 400, "unknown_archive_version"),
        (zipped({**TRIP, "todos": [{}]}), 400, "invalid_archive"),
        (zipped(b"{" + b" " * (20 << 20) + json.dumps(TRIP).encode()[1:]), 413, "archive_too_large"),
    ):
        reply = await send(crew, archive)
        assert (reply.status, reply.code) == (status, code), reply.body
    assert await crew.world.snapshot() == before


async def test_a_body_of_another_type_or_above_the_limit_is_refused(crew: Crew) -> None:
    path, ana = "/v1/trips:import", crew.people["ana"]
    reply = await crew.world.call("POST", path, by=ana, raw=b"x", headers={"content-type": "text/plain"})
    assert (reply.status, reply.code) == (400, "invalid_content_type")
    reply = await crew.world.call(
        "POST", path, by=ana, raw=b"x", headers={"content-type": "application/octet-stream"}
    )
    assert (reply.status, reply.code) == (400, "invalid_archive")
    too_long = ZIP | {"content-length": str(MAX_ARCHIVE_BYTES + 1)}
    reply = await crew.world.call("POST", path, by=ana, raw=b"x", headers=too_long)
    assert (reply.status, reply.code) == (413, "body_too_large")


async def test_an_uploaded_archive_is_imported_by_its_user_only(crew: Crew) -> None:
    await fill(crew)
    archive = await exported(crew)
    body = {"fileSize": len(archive)}
    reserved = (await crew.call("POST", "/v1/trips:import:presign", "ana", body)).json
    complete = {"id": reserved["id"]}
    early = await crew.call("POST", "/v1/trips:import:complete", "ana", complete)
    assert (early.status, early.code) == (409, "upload_incomplete")
    upload = reserved["upload"]
    assert (await crew.world.call(upload["method"], upload["url"], raw=archive[:-1])).status == 400
    assert (await crew.world.call(upload["method"], upload["url"], raw=archive)).status == 204
    foreign = await crew.call("POST", "/v1/trips:import:complete", "ben", complete)
    assert (foreign.status, foreign.code) == (404, "upload_not_found")
    reply = await crew.call("POST", "/v1/trips:import:complete", "ana", complete)
    assert (reply.status, reply.json["missingFiles"]) == (201, 0), reply.body
    assert (await crew.call("POST", "/v1/trips:import:complete", "ana", complete)).json == reply.json
    assert (await imported(crew, archive))["id"] == reply.json["trip"]["id"]


async def test_an_upload_is_bounded_and_deleted_after_an_hour(crew: Crew) -> None:
    ports, path = crew.world.ports, "/v1/trips:import:presign"
    reply = await crew.call("POST", path, "ana", {"fileSize": MAX_ARCHIVE_BYTES + 1})
    assert (reply.status, reply.code) == (413, "archive_too_large")
    reserved = (await crew.call("POST", path, "ana", {"fileSize": 3})).json
    assert (await crew.world.call("PUT", reserved["upload"]["url"], raw=b"zip")).status == 204
    file = crew.files.parent / "exports" / f"upload-{reserved['id']}"
    assert file.exists()
    for minutes in (59, 61):
        now = crew.world.clock() + timedelta(minutes=minutes)
        swept = await upkeep.sweep_uploads(imports=ports.trip_imports, files=ports.export_files, now=now)
        assert (swept > 0, file.exists()) == (minutes > 60, minutes < 60)
    complete = await crew.call("POST", "/v1/trips:import:complete", "ana", {"id": reserved["id"]})
    assert complete.code == "upload_not_found"
