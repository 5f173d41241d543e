"""Exports that are too large for a reply: a job writes them to the file store, and they expire."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from msgspec import Struct

from nomadcrew.core.access import Access
from nomadcrew.core.archives.errors import ArchiveTooLarge
from nomadcrew.core.archives.export import ExportRequest, TripSources, WriteCalendar, export_trip
from nomadcrew.core.archives.limits import MAX_EXPORT_BYTES
from nomadcrew.core.archives.packing import TooLarge
from nomadcrew.core.archives.ports import TripExports
from nomadcrew.core.archives.upkeep import key_of
from nomadcrew.core.documents.service import Client
from nomadcrew.core.errors import Forbidden, NotFound, Unauthenticated
from nomadcrew.core.events import EXPORTS, Outbox, job_id
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import EventId, ExportId, NewId
from nomadcrew.core.permissions import rule
from nomadcrew.core.queues import WorkQueue
from nomadcrew.core.retention import EXPORT_FRESHNESS


class ExportJob(Struct, frozen=True):
    """An export to make, and the client that asked for it, for the audit of documents."""

    export_id: ExportId
    network: str
    user_agent: str


# Writes a job for its queue.
EncodeJob = Callable[[ExportJob], str]


class Ready(Struct, frozen=True):
    """A link to a stored archive, valid for `LINK_LIFETIME`."""

    link: str


class Preparing(Struct, frozen=True):
    """An export that a job makes."""

    export_id: ExportId


async def find_export(request: ExportRequest, *, exports: TripExports, files: Files) -> Ready | Preparing | None:
    """The caller's export of the last hour, which a job makes or has made.

    Raises:
        ArchiveTooLarge: the job refused it.
        DomainError: the caller may not read the trip.
    """
    found = await exports.recent(
        _access(request), with_files=request.with_files, since=request.now - EXPORT_FRESHNESS
    )
    if found is None:
        return None
    if found.is_too_large:
        raise ArchiveTooLarge(
            f"The archive would exceed {MAX_EXPORT_BYTES >> 20} MiB. Export the trip with `files=false`."
        )
    if not found.is_stored:
        return Preparing(found.id)
    name = f"trip-{request.trip_id}.zip"
    return Ready(files.link(key_of(found.id), FileKind.ZIP, name, now=request.now))


async def queue_export(
    request: ExportRequest,
    pending: Preparing | None,
    *,
    exports: TripExports,
    queue: WorkQueue,
    new_id: NewId,
    encode: EncodeJob,
) -> Preparing:
    """Queue the job of an export. A pending export gets its job again, whose id makes that harmless.

    Raises:
        DomainError: the caller may not read the trip.
    """
    if pending is None:
        pending = Preparing(ExportId(new_id()))
        await exports.add(_access(request), pending.export_id, with_files=request.with_files, now=request.now)
    job = ExportJob(pending.export_id, request.client.network, request.client.user_agent)
    await queue.send(EXPORTS, encode(job), job_id=job_id(EventId(pending.export_id), EXPORTS))
    return pending


async def run_export(
    job: ExportJob,
    *,
    exports: TripExports,
    files: Files,
    sources: TripSources,
    outbox: Outbox,
    write_calendar: WriteCalendar,
    new_id: NewId,
    now: datetime,
) -> None:
    """Make an export. Safe to repeat: the file is replaced, and its user is notified once.

    An export whose user may no longer read the trip is dropped.

    Raises:
        Unavailable: it is not made; retry later.
    """
    pending = await exports.pending(job.export_id)
    if pending is None:
        return
    request = ExportRequest(
        pending.trip_id, pending.user_id, Client(job.network, job.user_agent), now,
        with_files=pending.with_files, max_bytes=MAX_EXPORT_BYTES,
    )  # fmt: skip
    with cast("BinaryIO", await asyncio.to_thread(TemporaryFile)) as archive:
        try:
            await export_trip(request, archive, sources=sources, write_calendar=write_calendar)
        except TooLarge:
            await exports.refuse(job.export_id)
            return
        except (Forbidden, NotFound, Unauthenticated):
            await exports.forget([job.export_id])
            return
        size_bytes = archive.seek(0, 2)
        await files.store(key_of(job.export_id), archive, FileKind.ZIP)
    outbox.before_write()
    await exports.complete(job.export_id, size_bytes, EventId(new_id()), now=now)
    await outbox.after_commit()


def _access(request: ExportRequest) -> Access:
    return Access(request.trip_id, request.caller, rule("trip", "read"))
