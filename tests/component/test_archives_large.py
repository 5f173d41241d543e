"""Exports that are too large for a reply, on the machine host."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from uuid import UUID
from zipfile import ZipFile

import pytest
import pytest_asyncio
from msgspec.structs import replace

from nomadcrew.api.archives.consumer import consume_export
from nomadcrew.api.notifications.consumer import notify
from nomadcrew.core.archives import upkeep
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import EXPORTS, TRIP_EXPORTED, Event
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import EventId, TripId, UserId
from nomadcrew.core.queues import Job
from nomadcrew.wire.export_jobs import NotAnExportJob, export_job_in
from tests.component.document_crew import Crew, crew_of
from tests.component.test_archives import export, exported
from tests.postgres import Postgres
from tests.sample_files import PDF
from tests.world import World, world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, Path]]:
    home = tmp_path_factory.mktemp("archives")
    async with world(postgres, home, template=template, environment={"NOMADCREW_RATE_LIMITS": "off"}) as made:
        yield made, home


@pytest_asyncio.fixture(loop_scope="session")
async def crew(stage: tuple[World, Path]) -> Crew:
    made = await crew_of(*stage)
    await jobs(made)  # those of other tests
    await made.uploaded("ana", made.group, PDF + bytes(5 * 2**20), name="A large scan")
    return made


async def jobs(crew: Crew) -> list[Job]:
    """The waiting jobs, which are acknowledged."""
    received = await crew.world.ports.queue.receive(EXPORTS, limit=10, visibility_s=60)
    for job in received:
        await crew.world.ports.queue.ack(job)
    return list(received)


async def work(crew: Crew) -> int:
    waiting = await jobs(crew)
    for job in waiting:
        await consume_export(job, crew.world.ports)
    return len(waiting)


async def notices(crew: Crew) -> list[dict[str, Any]]:
    """Deliver the events about exports of the trip; the notifications that they cause."""
    async with crew.world.pool.connection() as connection:
        rows = await connection.fetch(
            "DELETE FROM outbox WHERE type = $1 AND trip_id = $2 RETURNING id, trip_id, recipient_id, payload",
            TRIP_EXPORTED, crew.trip,
        )  # fmt: skip
    for row in rows:
        event = Event(
            EventId(row[0]), TRIP_EXPORTED, "trip-management-service", TripId(row[1]), None, UserId(row[2]),
            "internal", crew.world.clock(), row[3],
        )  # fmt: skip
        await notify(event, crew.world.ports)
    listed = (await crew.call("GET", "/v1/notifications", "ana")).json
    items = listed["notifications"] if isinstance(listed, dict) else listed
    return [item for item in items if item["metadata"].get("change") == "exported"]


async def test_a_large_trip_is_exported_by_a_job_and_its_user_is_notified(crew: Crew) -> None:
    reply = await export(crew)
    assert (reply.status, reply.json["status"]) == (202, "preparing"), reply.body
    assert (await export(crew)).json == reply.json
    assert await work(crew) == 1  # the second request queued the same job
    [notice] = await notices(crew)
    assert notice["message"].startswith("The export of ana-")
    assert notice["metadata"]["exportPath"] == f"/v1/trips/{crew.trip}/export"
    ready = await crew.call("GET", notice["metadata"]["exportPath"], "ana")
    assert (ready.status, ready.headers["cache-control"]) == (307, "no-store")
    file = await crew.world.call("GET", ready.headers["location"])
    assert (file.status, file.headers["content-type"]) == (200, "application/zip")
    with ZipFile(BytesIO(file.body)) as archive:
        assert archive.testzip() is None
        [document] = json.loads(archive.read("trip.json"))["documents"]
        assert len(archive.read(document["file"])) == len(PDF) + 5 * 2**20


async def test_an_export_belongs_to_the_member_who_asked(crew: Crew) -> None:
    await export(crew)
    await work(crew)
    assert (await export(crew)).status == 307
    assert (await export(crew, "ben")).status == 202
    assert (await export(crew, "cleo")).status == 403
    assert len(await exported(crew, query="?files=false")) < 100_000


async def test_a_job_that_runs_twice_notifies_once(crew: Crew) -> None:
    await export(crew)
    [job] = await jobs(crew)
    for _ in range(2):
        await consume_export(job, crew.world.ports)
    assert len(await notices(crew)) == 1


class FailingFiles:
    """A file store that does not answer."""

    async def store(self, *_: object) -> None:
        raise Unavailable

    async def delete(self, *_: object) -> None:
        raise Unavailable


async def test_a_job_in_an_outage_is_retried(crew: Crew) -> None:
    await export(crew)
    [job] = await jobs(crew)
    ports = replace(crew.world.ports, export_files=cast("Files", FailingFiles()))
    with pytest.raises(Unavailable):
        await consume_export(job, ports)
    assert (await export(crew)).status == 202
    await consume_export(job, crew.world.ports)
    assert (await export(crew)).status == 307


async def test_a_job_of_a_former_member_is_dropped(crew: Crew) -> None:
    await export(crew, "ben")
    await crew.call("DELETE", f"/v1/trips/{crew.trip}/members/{crew.people['ben'].id}", "ana")
    await work(crew)
    async with crew.world.pool.connection() as connection:
        count = await connection.fetchval("SELECT count(*) FROM trip_exports WHERE trip_id = $1", crew.trip)
    assert count == 0


async def test_an_archive_is_deleted_after_a_day(crew: Crew) -> None:
    export_id = (await export(crew)).json["exportId"]
    await work(crew)
    ports, now = crew.world.ports, crew.world.clock()
    path = crew.files.parent / "exports" / export_id
    assert path.exists()
    await upkeep.sweep(exports=ports.trip_exports, files=ports.export_files, now=now + timedelta(hours=23))
    assert path.exists()
    with pytest.raises(Unavailable):
        await upkeep.sweep(
            exports=ports.trip_exports, files=cast("Files", FailingFiles()), now=now + timedelta(hours=25)
        )
    assert await upkeep.sweep(exports=ports.trip_exports, files=ports.export_files, now=now + timedelta(hours=25))
    assert not path.exists()
    assert (await export(crew)).status == 202


async def test_an_archive_above_the_limit_is_refused(crew: Crew) -> None:
    export_id = UUID((await export(crew)).json["exportId"])
    async with crew.world.pool.connection() as connection:
        await connection.execute("UPDATE trip_exports SET is_too_large = true WHERE id = $1", export_id)
    reply = await export(crew)
    assert (reply.status, reply.code) == (413, "archive_too_large")
    assert await work(crew) == 1  # the queued job finds nothing to do
    assert (await export(crew)).status == 413


def test_a_message_that_is_no_job_is_dropped() -> None:
    for body in ("", "{}", '{"export_id": "x"}'):
        with pytest.raises(NotAnExportJob):
            export_job_in(body)
