"""Bodies of the document routes."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from nomadcrew.core.documents.metadata import description_of
from nomadcrew.core.documents.model import (
    MAX_DESCRIPTION,
    MAX_NAME,
    AuditEntry,
    BadMetadata,
    Description,
    Document,
    DocumentChange,
    DocumentPage,
    DocumentType,
)
from nomadcrew.core.documents.service import Reservation
from nomadcrew.core.errors import Invalid
from nomadcrew.core.files.model import MAX_FILE_BYTES
from nomadcrew.web.decode import decode

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
Text = Annotated[str, Meta(max_length=MAX_DESCRIPTION)]
Size = Annotated[int, Meta(ge=1, le=MAX_FILE_BYTES)]


class DocumentIn(Struct, rename="camel"):
    """The part `metadata` of an upload. The path decides the wallet, so walletType and `tripId` are ignored."""

    document_type: DocumentType
    name: Name
    description: Text | None = None
    metadata: dict[str, Any] | None = None
    wallet_type: Any = None
    trip_id: Any = None

    def checked(self) -> Description:
        """Raises Invalid: a text or the metadata is not valid."""
        return description_of(self.document_type, self.name, self.description, self.metadata)


class ReservationIn(DocumentIn, rename="camel", kw_only=True):
    """A document whose file the client uploads to the file store itself."""

    mime_type: Annotated[str, Meta(max_length=100)]
    file_size: Size


class CompletionIn(Struct):
    """The `id` of a reserved document."""

    id: UUID


class DocumentChangeIn(Struct, rename="camel"):
    document_type: DocumentType | None = None
    name: Name | None = None
    description: Text | None = None
    metadata: dict[str, Any] | None = None

    def change(self) -> DocumentChange:
        return DocumentChange(self.document_type, self.name, self.description, self.metadata)


class DocumentView(Struct, rename="camel"):
    """A document. downloadUrl is a token for `GET /v1/wallet/files/{token}`, in the replies that have one."""

    id: UUID
    wallet_type: str
    document_type: str
    name: str
    file_size: int
    mime_type: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    user_id: UUID | UnsetType = UNSET
    trip_id: UUID | UnsetType = UNSET
    description: str | UnsetType = UNSET
    download_url: str | UnsetType = UNSET


class DocumentPagination(Struct):
    limit: int
    offset: int
    total: int


class DocumentPageView(Struct):
    data: list[DocumentView]
    pagination: DocumentPagination


class DocumentDeletedView(Struct):
    message: str


class UploadView(Struct):
    """A request to the file store.

    `fields` are parts of a form before the part `file`; without any, the body is the file.
    """

    method: str
    url: str
    fields: dict[str, str]


class ReservationView(Struct, rename="camel"):
    id: UUID
    upload: UploadView
    expires_at: datetime


class AuditEntryView(Struct, rename="camel"):
    """An action on a document. ipAddress and userAgent are in the caller's own entries only."""

    id: UUID
    user_id: UUID
    action: str
    created_at: datetime
    ip_address: str | UnsetType = UNSET
    user_agent: str | UnsetType = UNSET


class AuditView(Struct):
    """Entries, newest first."""

    data: list[AuditEntryView]


def description_in(part: bytes | None) -> Description:
    """The texts in the part `metadata` of a form.

    Raises:
        BadMetadata: the part is missing or not valid.
        Invalid: as `description_of` says.
    """
    if part is None:
        raise Invalid("The form has no part `metadata`.", code="missing_metadata")
    try:
        body: DocumentIn = decode(part, DocumentIn)
    except Invalid as error:
        raise BadMetadata(error.text, details=error.details) from None
    return body.checked()


def document_view(document: Document, token: str | None = None) -> DocumentView:
    return DocumentView(
        id=document.id,
        wallet_type="personal" if document.trip_id is None else "group",
        document_type=document.type,
        name=document.name,
        file_size=document.size_bytes,
        mime_type=document.kind.value,
        metadata=dict(document.metadata),
        created_at=document.created_at,
        updated_at=document.updated_at,
        user_id=UNSET if document.user_id is None else document.user_id,
        trip_id=UNSET if document.trip_id is None else document.trip_id,
        description=UNSET if document.description is None else document.description,
        download_url=UNSET if token is None else token,
    )


def page_view(page: DocumentPage, limit: int, offset: int) -> DocumentPageView:
    return DocumentPageView(
        [document_view(document) for document in page.items], DocumentPagination(limit, offset, page.total)
    )


def reservation_view(reservation: Reservation) -> ReservationView:
    upload = reservation.upload
    return ReservationView(
        reservation.document_id, UploadView(upload.method, upload.url, dict(upload.fields)), reservation.expires_at
    )


def entry_view(entry: AuditEntry) -> AuditEntryView:
    return AuditEntryView(
        id=entry.id,
        user_id=entry.user_id,
        action=entry.action,
        created_at=entry.at,
        ip_address=UNSET if entry.network is None else entry.network,
        user_agent=UNSET if entry.user_agent is None else entry.user_agent,
    )
