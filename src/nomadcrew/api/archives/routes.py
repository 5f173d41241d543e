"""Archives: a trip as one ZIP."""

import hashlib
from contextlib import suppress
from io import BytesIO

from nomadcrew.api.archives.bodies import (
    ArchiveUploadIn,
    ImportedTripView,
    PreparingView,
    ReservedArchiveView,
    UploadedArchiveIn,
    imported_view,
    reserved_view,
)
from nomadcrew.api.archives.sources import import_ports_of, sources_of
from nomadcrew.api.calendars.ics import calendar_text
from nomadcrew.core.archives.export import ExportRequest, export_trip
from nomadcrew.core.archives.importing import import_trip
from nomadcrew.core.archives.jobs import Ready, find_export, queue_export
from nomadcrew.core.archives.limits import MAX_ARCHIVE_BYTES, MAX_INLINE_BYTES
from nomadcrew.core.archives.packing import TooLarge
from nomadcrew.core.archives.uploads import import_upload, reserve_upload
from nomadcrew.core.documents.service import Client
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import UploadId
from nomadcrew.core.ports import Ports
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.dispatch import encode
from nomadcrew.web.file_types import file_kind
from nomadcrew.web.problems import JSON_TYPE
from nomadcrew.web.routes import Gate, Idempotency, Param, Routes
from nomadcrew.web.upload import ZIP_TYPE, ZipReader
from nomadcrew.wire.export_jobs import export_job

_PAGE_BY_PAGE = "an archive is read feature by feature, page by page"
_IN_PARTS = "the trip is invisible until all of its parts are stored"

routes = Routes(
    "archives",
    ports=(
        "chat", "document_files", "documents", "export_files", "files", "limits", "meeting_points",
        "open_sessions", "outbox", "picture_files", "pictures", "polls", "positions", "profiles", "queue", "todos",
        "trip_exports", "trip_imports", "trips",
    ),
)  # fmt: skip


@routes.get(
    "/v1/trips/{id}/export", gate=Gate("trip", "read"), bucket="trip_export", refusals=(413,), statements=10,
    also=((202, PreparingView), (307, None)),
    why=_PAGE_BY_PAGE,
    query=(Param("files", "boolean", "`false` leaves out all files. Default: true."),),
)  # fmt: skip
async def export_trip_archive(call: Call) -> Reply:
    """Export a trip as a ZIP.

    All of the trip that the caller may see, as docs/trip-archive.md describes it. A job exports a trip that needs
    more than 4 MiB: the reply is 202, a notification tells the end, and the same request is then redirected to the
    archive, for an hour.
    """
    ports = call.ports
    request = ExportRequest(
        call.trip_id, call.user_id, _client(call), call.now,
        with_files=call.query("files") != "false", max_bytes=MAX_INLINE_BYTES,
    )  # fmt: skip
    found = await find_export(request, exports=ports.trip_exports, files=ports.export_files)
    if isinstance(found, Ready):
        return Reply(307, headers={"location": found.link, "cache-control": "no-store"})
    if found is None:
        with suppress(TooLarge):
            return await _at_once(request, ports)
    pending = await queue_export(
        request, found, exports=ports.trip_exports, queue=ports.queue, new_id=ports.new_id, encode=export_job
    )
    body = encode(PreparingView("preparing", pending.export_id))
    return Reply(202, body, {"content-type": JSON_TYPE})


async def _at_once(request: ExportRequest, ports: Ports) -> Reply:
    """The archive in the reply. Raises `TooLarge` if it does not fit."""
    archive = BytesIO()
    await export_trip(request, archive, sources=sources_of(ports), write_calendar=calendar_text)
    headers = {
        "content-type": ZIP_TYPE,
        "content-disposition": f"attachment; filename*=UTF-8''trip-{request.trip_id}.zip",
    }
    return Reply(200, archive.getvalue(), headers)


@routes.post(
    "/v1/trips:import", status=201, bucket="trip_import", idempotency=Idempotency.FINGERPRINT_ONLY,
    form=ZipReader, max_body_bytes=MAX_ARCHIVE_BYTES,
    refusals=(400, 409, 413), statements=3, why=_IN_PARTS,
)  # fmt: skip
async def import_trip_archive(call: Call) -> ImportedTripView:
    """Import an archive as a new trip.

    The body is the ZIP of an export, with the type `application/zip`. The caller becomes the owner; other people
    stay names. The same archive sent again within a day returns the first trip.
    """
    form = call.request.form
    if form is None or form.file is None:
        raise Invalid("The body has no file.", code="missing_file")
    imported = await import_trip(
        form.file,
        form.size_bytes,
        call.user_id,
        ports=import_ports_of(call.ports),
        detect=file_kind,
        fingerprint=hashlib.sha256(call.user_id.bytes + form.digest).digest(),
        new_id=call.ports.new_id,
        now=call.now,
    )
    return imported_view(imported)


@routes.post(
    "/v1/trips:import:presign", status=201, bucket="trip_import", idempotency=Idempotency.FINGERPRINT_ONLY,
    refusals=(413,),
)  # fmt: skip
async def reserve_trip_archive(call: Call, body: ArchiveUploadIn) -> ReservedArchiveView:
    """Reserve the upload of an archive to the file store.

    Send the ZIP with the request in `upload`, then `POST /v1/trips:import:complete`, within 15 minutes.
    """
    reserved = await reserve_upload(
        body.file_size,
        call.user_id,
        ports=import_ports_of(call.ports),
        files=call.ports.export_files,
        fingerprint=call.fingerprint,
        now=call.now,
    )
    return reserved_view(reserved)


@routes.post(
    "/v1/trips:import:complete", status=201, bucket="trip_import", idempotency=Idempotency.NEVER,
    refusals=(400, 404, 409, 413), statements=4, why=_IN_PARTS,
)  # fmt: skip
async def import_uploaded_trip_archive(call: Call, body: UploadedArchiveIn) -> ImportedTripView:
    """Import an archive that was uploaded to the file store.

    As `POST /v1/trips:import`; a repeat within a day returns the first trip.
    """
    imported = await import_upload(
        UploadId(body.id),
        call.user_id,
        ports=import_ports_of(call.ports),
        files=call.ports.export_files,
        detect=file_kind,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return imported_view(imported)


def _client(call: Call) -> Client:
    return Client(call.request.client_ip, call.user_agent)
