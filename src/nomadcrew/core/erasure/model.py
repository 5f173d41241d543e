"""The user who is erased, and the receipt of an erasure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.archives.upkeep import key_of as export_key
from nomadcrew.core.archives.upkeep import upload_key_of
from nomadcrew.core.chat.model import key_of as attachment_key
from nomadcrew.core.documents.model import DocumentType
from nomadcrew.core.documents.model import keys_of as document_keys
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import AttachmentId, DocumentId, ExportId, PictureId, TripId, UploadId, UserId
from nomadcrew.core.pictures.model import keys_of as picture_keys

# Documents about a person rather than about a journey: in a trip's wallet, too, they end with their uploader.
PERSONAL_DOCUMENTS = (
    DocumentType.PASSPORT,
    DocumentType.VISA,
    DocumentType.INSURANCE,
    DocumentType.VACCINATION,
    DocumentType.LOYALTY_CARD,
)


class FileKeeper(StrEnum):
    """The kinds of rows that have files."""

    ATTACHMENT = "attachments"
    DOCUMENT = "documents"
    PICTURE = "pictures"
    EXPORT = "exports"
    UPLOAD = "uploads"


class PersonalFile(Struct, frozen=True):
    """A row whose files are erased; `trip_id` is that of an attachment."""

    keeper: FileKeeper
    id: UUID
    trip_id: TripId | None

    @property
    def keys(self) -> Sequence[str]:
        """The keys of its files."""
        match self.keeper:
            case FileKeeper.ATTACHMENT:
                assert self.trip_id is not None
                return [attachment_key(self.trip_id, AttachmentId(self.id))]
            case FileKeeper.DOCUMENT:
                return document_keys(DocumentId(self.id))
            case FileKeeper.PICTURE:
                return picture_keys(PictureId(self.id))
            case FileKeeper.EXPORT:
                return [export_key(ExportId(self.id))]
            case _:
                return [upload_key_of(UploadId(self.id))]


class FormerMembership(Struct, frozen=True):
    """A trip of an erased user, and the id that replaces the user's there. `is_over` if the trip is erased too."""

    trip_id: TripId
    stand_in_id: UserId
    is_over: bool


class Person(Struct, frozen=True):
    """A user who is erased, with all addresses of the user; `email` gets the receipt.

    `names` are the names by which others see the user, and the addresses.
    """

    id: UserId
    email: str
    username: str
    names: Sequence[str]
    addresses: Sequence[str]
    trips: Sequence[FormerMembership]


class Erasure(Struct, frozen=True):
    """The contents of a receipt: the rows and files that were erased, by kind, and when the last one was."""

    user_id: UserId
    erased_at: datetime
    erased: Mapping[str, int]


class InvalidReceipt(Invalid):
    code = "invalid_receipt"
    text = "This receipt was not issued here, or was changed."
