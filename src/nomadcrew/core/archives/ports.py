"""The ports of imports, and of exports that are too large for a reply."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol

from msgspec import Struct

from nomadcrew.core.access import Access
from nomadcrew.core.chat.model import Attachment
from nomadcrew.core.documents.model import Document
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import EventId, ExportId, MembershipId, MessageId, PictureId, TripId, UploadId, UserId
from nomadcrew.core.locations.model import MeetingPoint
from nomadcrew.core.polls.model import Poll
from nomadcrew.core.todos.model import Todo
from nomadcrew.core.trips.model import NewTrip


class Begun(Struct, frozen=True):
    """The trip of an import; `is_finished` is True if the same archive was imported before."""

    trip_id: TripId
    is_finished: bool


class NewImport(Struct, frozen=True):
    """An import to begin: the trip to create and its times, and the hash of user and archive."""

    trip_id: TripId
    trip: NewTrip
    created_at: datetime
    updated_at: datetime
    caller: UserId
    fingerprint: bytes
    now: datetime


class ImportedPerson(Struct, frozen=True):
    """A name without an account, which stands for an author."""

    id: UserId
    name: str


class ImportedDocument(Struct, frozen=True):
    document: Document
    ends_on: date | None


class ImportedPhoto(Struct, frozen=True):
    id: PictureId
    user_id: UserId | None
    kind: FileKind
    size_bytes: int
    created_at: datetime


class ImportedAttachment(Struct, frozen=True):
    attachment: Attachment
    message_id: MessageId
    user_id: UserId | None
    created_at: datetime


class Parts(Struct, frozen=True):
    """The numbers of files that an import has stored."""

    documents: int
    photos: int
    attachments: int


class TripImports(Protocol):
    """Imports of trips. No route shows a trip before its import is finished.

    Every `add` is safe to repeat, and stores nothing once the import is finished. Only `finish` writes an event.
    """

    async def begin(self, new: NewImport) -> Begun:
        """Begin an import, or continue one of the same archive.

        Raises:
            NotOnboarded: the caller has no profile.
            Conflict: the caller is on `MAX_TRIPS_PER_USER` trips.
        """
        ...

    async def add_people(self, trip_id: TripId, people: Sequence[ImportedPerson], *, now: datetime) -> None: ...

    async def add_todos(self, trip_id: TripId, todos: Sequence[Todo]) -> None: ...

    async def add_polls(self, trip_id: TripId, polls: Sequence[Poll]) -> None:
        """Store polls with their options and votes, without reminders."""
        ...

    async def add_documents(self, trip_id: TripId, documents: Sequence[ImportedDocument]) -> None:
        """Reserve documents; `finish` makes them visible."""
        ...

    async def add_photo(self, trip_id: TripId, photo: ImportedPhoto) -> None:
        """Reserve a photo; `finish` makes it visible, and queues its renditions."""
        ...

    async def add_attachments(self, trip_id: TripId, attachments: Sequence[ImportedAttachment]) -> None: ...

    async def add_meeting_point(self, trip_id: TripId, point: MeetingPoint) -> None: ...

    async def finish(
        self,
        new: NewImport,
        stored: Parts,
        *,
        membership_id: MembershipId,
        event_id: EventId,
    ) -> None:
        """Show the trip, with the caller as its OWNER. A repeat changes nothing.

        Raises:
            ImportInterrupted: a file was swept, or another attempt took over.
            Conflict: as `begin` says.
        """
        ...

    async def reserve_upload(self, upload_id: UploadId, size_bytes: int, caller: UserId, *, now: datetime) -> None:
        """Reserve the upload of an archive of that size. Safe to repeat.

        Raises:
            NotOnboarded: the caller has no profile.
        """
        ...

    async def get_upload(self, upload_id: UploadId, caller: UserId, *, since: datetime) -> int:
        """The size of an archive that the caller reserved since then, in bytes.

        Raises:
            UploadNotFound: there is none.
        """
        ...

    async def expired_uploads(self, before: datetime, *, limit: int) -> Sequence[UploadId]:
        """Uploads reserved before, the oldest first."""
        ...

    async def forget_uploads(self, ids: Sequence[UploadId]) -> None: ...


class Export(Struct, frozen=True):
    """An export that a job makes."""

    id: ExportId
    is_stored: bool
    is_too_large: bool


class PendingExport(Struct, frozen=True):
    """The trip and the user of an export that is not stored yet."""

    trip_id: TripId
    user_id: UserId
    with_files: bool


class TripExports(Protocol):
    """The rows of exports that are too large for a reply; `Files` stores their bytes.

    A row is deleted after its file, so that every file has a row.
    """

    async def recent(self, access: Access, *, with_files: bool, since: datetime) -> Export | None:
        """The caller's latest export of the trip since then.

        Raises:
            DomainError: the caller may not read the trip.
        """
        ...

    async def add(self, access: Access, export_id: ExportId, *, with_files: bool, now: datetime) -> None: ...

    async def pending(self, export_id: ExportId) -> PendingExport | None:
        """An export to make; None if it is stored, refused or forgotten."""
        ...

    async def complete(self, export_id: ExportId, size_bytes: int, event_id: EventId, *, now: datetime) -> None:
        """Record that the file is stored, with the event that notifies its user. A repeat changes nothing."""
        ...

    async def refuse(self, export_id: ExportId) -> None:
        """Record that the archive is too large."""
        ...

    async def expired(self, before: datetime, *, limit: int) -> Sequence[ExportId]:
        """Exports requested before, the oldest first."""
        ...

    async def forget(self, ids: Sequence[ExportId]) -> None: ...
