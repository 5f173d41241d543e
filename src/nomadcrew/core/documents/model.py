"""A document in a wallet: a file with its type, name and metadata."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from nomadcrew.core.errors import Conflict, Forbidden, Invalid, NotFound
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import AuditId, DocumentId, TripId, UserId
from nomadcrew.core.notifications.preferences import Preferences

MAX_NAME = 255  # characters
MAX_DESCRIPTION = 2_000  # characters
MAX_METADATA_BYTES = 64 * 2**10
# Of one wallet: a user's own, and a trip's.
MAX_DOCUMENTS = 1_000
MAX_OWN_BYTES = 100 * 2**20
MAX_TRIP_BYTES = 500 * 2**20
# A file that its client uploads itself must be complete by then.
UPLOAD_LIFETIME = timedelta(minutes=15)
# A client that was given a token follows it within this time.
TOKEN_LIFETIME = timedelta(minutes=15)
# A link of the file store, which a token leads to.
DOCUMENT_LINK_LIFETIME = timedelta(minutes=5)

ACCEPTED = frozenset({FileKind.PDF, FileKind.JPEG, FileKind.PNG, FileKind.HEIC})

Scalar = str | int | float | bool | None
Metadata = Mapping[str, Scalar]


class DocumentType(StrEnum):
    PASSPORT = "passport"
    VISA = "visa"
    INSURANCE = "insurance"
    VACCINATION = "vaccination"
    LOYALTY_CARD = "loyalty_card"
    FLIGHT_BOOKING = "flight_booking"
    HOTEL_BOOKING = "hotel_booking"
    RESERVATION = "reservation"
    RECEIPT = "receipt"
    OTHER = "other"


class Action(StrEnum):
    """An action that the audit of a document records."""

    UPLOAD = "upload"
    VIEW = "view"
    DOWNLOAD = "download"
    UPDATE = "update"
    DELETE = "delete"


class Document(Struct, frozen=True):
    """A stored document. `trip_id` None means the user's own wallet; `user_id` is its uploader."""

    id: DocumentId
    user_id: UserId | None
    trip_id: TripId | None
    type: str
    name: str
    description: str | None
    metadata: Metadata
    kind: FileKind
    size_bytes: int
    created_at: datetime
    updated_at: datetime


class Description(Struct, frozen=True):
    """The texts of a document, checked. `ends_on` is the last day of a passport, a visa or an insurance."""

    type: DocumentType
    name: str
    description: str | None
    metadata: Metadata
    ends_on: date | None


class NewDocument(Struct, frozen=True):
    """A document to reserve. `size_bytes` counts in its wallet at once."""

    id: DocumentId
    trip_id: TripId | None
    description: Description
    kind: FileKind
    size_bytes: int


class DocumentChange(Struct, frozen=True):
    """The fields to change; None leaves a field as it is. `metadata` is unchecked."""

    type: DocumentType | None = None
    name: str | None = None
    description: str | None = None
    metadata: Metadata | None = None


class DocumentPage(Struct, frozen=True):
    """A page of a wallet, newest first; `total` counts all of it."""

    items: Sequence[Document]
    total: int


class Trace(Struct, frozen=True):
    """A request as the audit records it. A repeat has the same id and is recorded once."""

    id: AuditId
    network: str
    user_agent: str
    at: datetime


class AuditEntry(Struct, frozen=True):
    """An entry of an audit. Network and user agent are None unless the entry is about the reader."""

    id: AuditId
    user_id: UserId
    action: str
    network: str | None
    user_agent: str | None
    at: datetime


class FileGrant(Struct, frozen=True):
    """The content of a file token: a document, the user who was shown it, and the audit entry of its download."""

    document_id: DocumentId
    user_id: UserId
    audit_id: AuditId
    expires_at: datetime


class EndingDocument(Struct, frozen=True):
    """A document of which its user is reminded by mail."""

    document_id: DocumentId
    user_id: UserId
    name: str
    ends_on: date
    email: str
    username: str
    preferences: Preferences

    @property
    def is_mailed(self) -> bool:
        return bool(self.email) and self.preferences.email and self.preferences.documents


class DocumentNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("document", code="document_not_found")


class NotDocumentOwner(Forbidden):
    code = "not_document_owner"
    text = "Only the user who uploaded this document may do that."


class QuotaExceeded(Invalid):
    code = "storage_quota_exceeded"
    text = (
        f"The wallet is full: {MAX_OWN_BYTES >> 20} MiB of your own, {MAX_TRIP_BYTES >> 20} MiB for a trip, and "
        f"{MAX_DOCUMENTS:,} documents. Delete a document first."
    )


class MetadataTooLarge(Invalid):
    code = "metadata_too_large"
    text = f"The metadata of a document must not exceed {MAX_METADATA_BYTES >> 10} KiB."


class BadMetadata(Invalid):
    code = "invalid_metadata"


class BadDocumentType(Invalid):
    code = "invalid_mime_type"
    text = "Only PDF documents and JPEG, PNG and HEIC pictures are accepted."


class UploadIncomplete(Conflict):
    code = "upload_incomplete"
    text = "The file is not there yet. Upload it with the form of the reservation, then complete it again."


class BadToken(Invalid):
    code = "invalid_token"
    text = "This link is not valid. Open the document again."


class TokenExpired(Invalid):
    code = "token_expired"
    text = "This link has expired. Open the document again."


def max_bytes(trip_id: TripId | None) -> int:
    """The bytes that a wallet holds."""
    return MAX_OWN_BYTES if trip_id is None else MAX_TRIP_BYTES


def key_of(document_id: DocumentId) -> str:
    """The key of a document's file. It names neither user nor trip."""
    return f"documents/{document_id}"


def upload_key(document_id: DocumentId) -> str:
    """The key of a file as its client uploaded it. It is unchecked and never served."""
    return f"documents/{document_id}-upload"


def keys_of(document_id: DocumentId) -> Sequence[str]:
    """The keys of all files that a document may have."""
    return [key_of(document_id), upload_key(document_id)]
