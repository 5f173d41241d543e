"""Ports of documents."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Protocol

from msgspec import Struct

from nomadcrew.core.documents.model import (
    AuditEntry,
    Description,
    Document,
    DocumentPage,
    EndingDocument,
    FileGrant,
    NewDocument,
    Trace,
)
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import DocumentId, EventId, TripId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import Rule


class WalletAccess(Struct, frozen=True):
    """A caller's request on a wallet: of a trip, or the caller's own if `trip_id` is None."""

    trip_id: TripId | None
    caller: UserId
    rule: Rule


class DocumentAccess(Struct, frozen=True):
    """A caller's request on a document, in whichever wallet it is; `rule` counts on a trip."""

    document_id: DocumentId
    caller: UserId
    rule: Rule


class Documents(Protocol):
    """The rows of documents; `Files` stores their bytes.

    A reserved document is counted in its wallet and visible only to `complete`. A deleted one is no longer
    readable; its row remains until `forget`. Events and audit entries of a method are stored in its transaction.

    Every method with an access raises `NotOnboarded`, `NotTripMember` and `NotFound` (a deleted trip). Those with a
    `DocumentAccess` also raise `DocumentNotFound` and `NotDocumentOwner`.
    """

    async def reserve(
        self, access: WalletAccess, new: NewDocument, *, fingerprint: bytes, now: datetime
    ) -> DocumentId:
        """Reserve room for a document. A repeat, by `fingerprint`, returns the id of the first.

        Raises:
            QuotaExceeded: the wallet has no room, concurrent uploads included.
        """
        ...

    async def get_completed(self, access: DocumentAccess) -> tuple[FileKind, int] | None:
        """Type and size in bytes of the file of a document that the caller completed before. Checks no rule."""
        ...

    async def complete(
        self, access: DocumentAccess, kind: FileKind, size_bytes: int, event_id: EventId, trace: Trace
    ) -> Document:
        """Make a reserved document visible. A repeat returns the document.

        Raises:
            DocumentNotFound: the caller reserved no such document, or it has expired.
        """
        ...

    async def page(
        self, access: WalletAccess, *, limit: int, offset: int = 0, after: After | None = None
    ) -> DocumentPage:
        """The documents of a wallet below `after`, newest first, and the number of all."""
        ...

    async def get(self, access: DocumentAccess, trace: Trace) -> Document:
        """A document; the audit records the view."""
        ...

    async def change(
        self, access: DocumentAccess, edit: Callable[[Document], Description], trace: Trace
    ) -> Document:
        """Replace the texts of a document by those that `edit` makes of it. Without a change there is no entry."""
        ...

    async def delete(self, access: DocumentAccess, event_id: EventId, trace: Trace) -> None: ...

    async def download(self, grant: FileGrant, trace: Trace) -> Document:
        """The document of a token, if its user may still read it; the audit records the download once."""
        ...

    async def audit(
        self, access: DocumentAccess, *, limit: int, after: After | None = None
    ) -> Sequence[AuditEntry]:
        """Entries of a document below `after`, newest first: all of them for its uploader, else the caller's own.

        The uploader may read those of a deleted document while its row remains.
        """
        ...

    async def remind(
        self, today: date, leads_days: Sequence[int], event_ids: Sequence[EventId], *, now: datetime
    ) -> int:
        """Write events for documents that end within a lead, at most one for each of `event_ids`.

        A document gets one event for each lead, and none of a longer lead after it. Returns their number.
        """
        ...

    async def get_ending(self, document_id: DocumentId, ends_on: date) -> EndingDocument | None:
        """A document and its user, for a mail; None if it is deleted or ends on another day."""
        ...

    async def expire(self, reserved_before: datetime, *, now: datetime, limit: int) -> int:
        """Delete documents that were reserved before and never completed, and those of deleted trips and users.

        Returns their number.
        """
        ...

    async def list_with_files(self, deleted_before: datetime, *, limit: int) -> Sequence[DocumentId]:
        """Documents deleted before, whose files may remain; the oldest deletion first."""
        ...

    async def file_gone(self, ids: Sequence[DocumentId]) -> None:
        """Record that these deleted documents have no file any more."""
        ...

    async def forget(self, deleted_before: datetime, *, limit: int) -> int:
        """Delete the rows of documents that were deleted before and have no file, with their audit. Returns the
        number."""
        ...


class FileTokens(Protocol):
    """Encrypted tokens that fit one segment of a path. They are the only credential of a download."""

    def issue(self, grant: FileGrant) -> str: ...

    def read(self, token: str, *, now: datetime) -> FileGrant:
        """The content of a token.

        Raises:
            BadToken: it is malformed or forged.
            TokenExpired: it is no longer valid.
        """
        ...
