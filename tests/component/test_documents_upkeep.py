"""Documents after their upload: crashes, the sweep, reminders and the audit, on the machine host."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, cast
from uuid import uuid4

import pytest
import pytest_asyncio
from msgspec.structs import replace

from nomadcrew.api.mail.consumer import send_mail_for
from nomadcrew.api.notifications.consumer import notify
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.core.documents.reminders import remind
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import DOCUMENT_ENDS, Event
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import EventId
from nomadcrew.core.retention import DOCUMENT_RETENTION, RESERVED_DOCUMENT_RETENTION
from nomadcrew.web.call import Request
from nomadcrew.web.dispatch import Dispatcher
from tests.component.document_crew import OWN, Crew, crew_of
from tests.component.requests import FORM_DATA, document_form
from tests.postgres import Postgres
from tests.sample_files import PDF
from tests.world import World, request_headers, world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, Path]]:
    home = tmp_path_factory.mktemp("documents-upkeep")
    async with world(postgres, home, template=template, environment={"NOMADCREW_RATE_LIMITS": "off"}) as made:
        yield made, home


@pytest_asyncio.fixture(loop_scope="session")
async def crew(stage: tuple[World, Path]) -> Crew:
    return await crew_of(*stage)


class FailingFiles:
    """A file store in an outage, after the row was reserved."""

    async def store(self, key: str, file: BinaryIO, kind: FileKind) -> None:
        raise Unavailable

    async def delete(self, key: str) -> None:
        raise Unavailable


async def test_an_upload_that_fails_at_its_file_leaves_nothing_visible_and_may_be_repeated(crew: Crew) -> None:
    world, ana = crew.world, crew.people["ana"]
    ports = replace(world.ports, document_files=cast("Files", FailingFiles()))
    route = next(route for route in ALL_ROUTES if route.key == f"POST {OWN}")
    headers = request_headers(ana, document_form(), dict((FORM_DATA,)))
    request = Request({}, {}, headers, document_form(), "203.0.113.7", "req-1")
    assert (await Dispatcher(ports).handle(route, request)).status == 503
    assert (await crew.call("GET", OWN, "ana")).json["data"] == []
    repeated = await crew.uploaded("ana")
    assert [item["id"] for item in (await crew.call("GET", OWN, "ana")).json["data"]] == [repeated["id"]]
    assert (await crew.file(repeated["downloadUrl"])).body == PDF
    async with world.pool.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM documents WHERE user_id = $1", ana.id) == 1


async def test_a_document_is_deleted_while_the_file_store_is_away_and_its_file_by_the_sweep(crew: Crew) -> None:
    world, document = crew.world, await crew.uploaded("ana")
    ports = replace(world.ports, document_files=cast("Files", FailingFiles()))
    route = next(route for route in ALL_ROUTES if route.key == f"DELETE {OWN}/{{documentId}}")
    headers = request_headers(crew.people["ana"], b"", None)
    request = Request({"documentId": document["id"]}, {}, headers, b"", "203.0.113.7", "req-1")
    assert (await Dispatcher(ports).handle(route, request)).status == 200
    assert (await crew.get("ana", document["id"])).code == "document_not_found"
    assert crew.stored(document["id"]) == [document["id"]]
    before = world.clock()
    try:
        world.clock.now = before + RESERVED_DOCUMENT_RETENTION
        await crew.sweep()
    finally:
        world.clock.now = before
    assert crew.stored(document["id"]) == []


@pytest.mark.contract("jobs.wallet-purge")
async def test_the_sweep_leaves_no_file_without_a_row_and_no_row_without_a_file(crew: Crew) -> None:
    complete = await crew.uploaded("ana")
    abandoned = (await crew.reserve("ana")).json
    assert (await crew.world.call("PUT", abandoned["upload"]["url"], raw=PDF)).status == 204
    upload = f"{abandoned['id']}-upload"
    assert crew.stored(complete["id"], upload) == [complete["id"], upload]
    before = crew.world.clock()
    try:
        await crew.sweep()
        assert crew.stored(upload) == [upload]
        crew.world.clock.now = before + RESERVED_DOCUMENT_RETENTION + timedelta(seconds=1)
        await crew.sweep()
        crew.world.clock.now = before
        assert (await crew.complete("ana", abandoned["id"])).code == "document_not_found"
        # Its client may still have uploaded it, so its file is deleted an hour later.
        crew.world.clock.now = before + 3 * RESERVED_DOCUMENT_RETENTION
        await crew.sweep()
        assert crew.stored(complete["id"], abandoned["id"], upload) == [complete["id"]]
        assert await crew.sweep() == 0
    finally:
        crew.world.clock.now = before
    assert (await crew.get("ana", complete["id"])).status == 200


@pytest.mark.contract("rest-activity.wallet.retention", "jobs.wallet-purge")
async def test_rows_of_deleted_documents_are_kept_for_30_days(crew: Crew) -> None:
    document = await crew.uploaded("ana")
    assert (await crew.call("DELETE", f"{OWN}/{document['id']}", "ana")).status == 200
    before = crew.world.clock()
    try:
        crew.world.clock.now = before + DOCUMENT_RETENTION
        await crew.sweep()
        assert ("delete", crew.people["ana"].id) in await crew.stored_audit(document["id"])
        crew.world.clock.now += timedelta(seconds=1)
        await crew.sweep()
        assert await crew.stored_audit(document["id"]) == []
    finally:
        crew.world.clock.now = before


@pytest.mark.contract("rest-activity.guards.fix-deleted")
async def test_documents_of_a_deleted_trip_are_deleted(crew: Crew) -> None:
    group, own = await crew.uploaded("ana", crew.group), await crew.uploaded("ana")
    assert (await crew.call("DELETE", f"/v1/trips/{crew.trip}", "ana")).status == 204
    refused = await crew.get("ben", group["id"])
    assert (refused.status, refused.code) == (404, "trip_not_found")
    before = crew.world.clock()
    try:
        await crew.sweep()
        crew.world.clock.now += RESERVED_DOCUMENT_RETENTION
        await crew.sweep()
    finally:
        crew.world.clock.now = before
    assert crew.stored(group["id"], own["id"]) == [own["id"]]


async def reminded(crew: Crew, days_before: int, hour: int = 9) -> list[Event]:
    """The events of reminders at a time before the end of February 2027, and their notifications and mails."""
    ports, before = crew.world.ports, crew.world.clock()
    crew.world.clock.now = datetime(2027, 2, 28, hour, tzinfo=UTC) - timedelta(days=days_before)
    try:
        await remind(documents=ports.documents, new_id=ports.new_id, now=crew.world.clock())
        async with crew.world.pool.connection() as connection:
            rows = await connection.fetch(
                "DELETE FROM outbox WHERE type = 'document.ends' RETURNING id, recipient_id, audience, payload"
            )
        events = [
            Event(
                EventId(row[0]), DOCUMENT_ENDS, "document-service", None, None, row[1], row[2], crew.world.clock(),
                row[3],
            )
            for row in rows
        ]  # fmt: skip
        for event in events:
            await notify(event, ports)
            await send_mail_for(event, ports)
        return events
    finally:
        crew.world.clock.now = before


async def test_a_user_is_reminded_30_7_and_1_days_before_a_passport_ends(crew: Crew) -> None:
    document = await crew.uploaded("ana", name="My passport", metadata={"expiry_date": "2027-02-28"})
    await crew.uploaded("ana", documentType="loyalty_card", metadata={"expiryDate": "2027-02-28"})
    assert [await reminded(crew, 31), await reminded(crew, 30, hour=8)] == [[], []]
    counts = [len(await reminded(crew, days)) for days in (30, 29, 8, 7, 6, 2, 1, 0)]
    assert counts == [1, 0, 0, 1, 0, 0, 1, 0]
    notifications = (await crew.call("GET", "/v1/notifications", "ana")).json
    assert [notification["message"] for notification in notifications] == ["My passport ends on 2027-02-28"] * 3
    assert [notification["metadata"]["days"] for notification in notifications] == [1, 7, 30]
    assert notifications[0]["metadata"]["documentID"] == document["id"]
    mails = [path.read_text() for path in crew.world.mail.iterdir() if crew.people["ana"].email in path.read_text()]
    assert len(mails) == 3
    assert all("My passport ends on 28 February 2027" in mail for mail in mails)


async def test_a_reminder_follows_the_preferences_of_its_user(crew: Crew) -> None:
    await crew.uploaded(
        "ben", crew.group, name="A visa", documentType="visa", metadata={"expiryDate": "2027-02-28"}
    )
    await crew.call("PUT", "/v1/notifications/preferences", "ben", {"email": False})
    assert len(await reminded(crew, 7)) == 1
    await crew.call("PUT", "/v1/notifications/preferences", "ben", {"email": True, "documents": False})
    assert len(await reminded(crew, 1)) == 1
    notifications = (await crew.call("GET", "/v1/notifications", "ben")).json
    assert [
        notification["metadata"]["days"] for notification in notifications if "days" in notification["metadata"]
    ] == [7]
    assert not [path for path in crew.world.mail.iterdir() if "A visa" in path.read_text()]


async def test_a_new_end_is_reminded_of_again_and_a_deleted_document_never(crew: Crew) -> None:
    document = await crew.uploaded("ana", metadata={"expiryDate": "2027-02-20"})
    assert len(await reminded(crew, 10)) == 1
    path = f"{OWN}/{document['id']}"
    await crew.call("PUT", path, "ana", {"metadata": {"expiryDate": "2027-02-28"}})
    assert len(await reminded(crew, 10)) == 1
    await crew.call("PUT", path, "ana", {"name": "Renamed"})
    assert await reminded(crew, 10) == []
    await crew.call("DELETE", path, "ana")
    assert await reminded(crew, 7) == []


async def test_a_mail_about_a_document_that_changed_meanwhile_is_not_sent(crew: Crew) -> None:
    document = await crew.uploaded("ana", metadata={"expiryDate": "2027-02-28"})
    [event] = await reminded(crew, 10)
    mails = len(list(crew.world.mail.iterdir()))
    await crew.call("DELETE", f"{OWN}/{document['id']}", "ana")
    await send_mail_for(replace(event, id=EventId(uuid4())), crew.world.ports)
    assert len(list(crew.world.mail.iterdir())) == mails


@pytest.mark.contract("rest-activity.wallet.audit")
async def test_the_audit_records_all_actions_for_those_whom_they_concern(crew: Crew) -> None:
    ana, ben = crew.people["ana"].id, crew.people["ben"].id
    document = await crew.uploaded("ana", crew.group)
    id_ = document["id"]
    crew.world.clock.advance(60)
    for _ in range(2):
        token = (await crew.get("ben", id_)).json["downloadUrl"]
    crew.world.clock.advance(60)
    for _ in range(2):
        await crew.file(token)
    crew.world.clock.advance(60)
    await crew.call("PUT", f"{OWN}/{id_}", "ana", {"name": "Renamed"})
    crew.world.clock.advance(60)
    assert await crew.audit("ana", id_) == [
        ("update", ana), ("download", ben), ("view", ben), ("upload", ana),
    ]  # fmt: skip
    assert await crew.audit("ben", id_) == [("download", ben), ("view", ben)]
    entries = (await crew.call("GET", f"{OWN}/{id_}/audit?limit=4", "ana")).json["data"]
    assert [entry.get("ipAddress") for entry in entries] == ["203.0.113.7", None, None, "203.0.113.7"]
    assert entries[-1]["userAgent"] == "a phone"
    await crew.call("DELETE", f"{OWN}/{id_}", "ana")
    assert (await crew.audit("ana", id_))[0] == ("delete", ana)
    refused = await crew.call("GET", f"{OWN}/{id_}/audit", "ben")
    assert (refused.status, refused.code) == (404, "document_not_found")
    first = await crew.call("GET", f"{OWN}/{id_}/audit?limit=2", "ana")
    link = first.headers["link"].split(">")[0].removeprefix("<")
    assert len((await crew.call("GET", link, "ana")).json["data"]) == 2
