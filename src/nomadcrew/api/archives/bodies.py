"""Bodies of the routes of archives."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from nomadcrew.api.trips.bodies import TripView, trip_view
from nomadcrew.core.archives.importing import Imported
from nomadcrew.core.archives.uploads import ReservedUpload


class ImportedTripView(Struct, rename="camel"):
    """The new trip. missingFiles counts documents and attachments whose file was not in the archive."""

    trip: TripView
    missing_files: int


class ArchiveUploadIn(Struct, rename="camel"):
    """The size of an archive, in bytes."""

    file_size: Annotated[int, Meta(ge=1)]


class UploadedArchiveIn(Struct):
    """The `id` of a reserved upload."""

    id: UUID


class ArchiveUploadView(Struct):
    """A request to the file store.

    `fields` are parts of a form before the part `file`; without any, the body is the file.
    """

    method: str
    url: str
    fields: dict[str, str]


class ReservedArchiveView(Struct, rename="camel"):
    id: UUID
    upload: ArchiveUploadView
    expires_at: datetime


class PreparingView(Struct, rename="camel"):
    """An export that a job makes. `status` is `preparing`."""

    status: str
    export_id: UUID


def imported_view(imported: Imported) -> ImportedTripView:
    return ImportedTripView(trip_view(imported.trip), imported.missing_files)


def reserved_view(reserved: ReservedUpload) -> ReservedArchiveView:
    upload = reserved.upload
    return ReservedArchiveView(
        reserved.upload_id, ArchiveUploadView(upload.method, upload.url, dict(upload.fields)), reserved.expires_at
    )
