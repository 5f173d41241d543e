"""Documents: uploading, listing, reading, changing and deleting, with an audit of each."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from tempfile import TemporaryFile
from typing import BinaryIO, cast
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.documents.metadata import check_description, check_name, ends_on, kept
from nomadcrew.core.documents.model import (
    ACCEPTED,
    DOCUMENT_LINK_LIFETIME,
    TOKEN_LIFETIME,
    UPLOAD_LIFETIME,
    AuditEntry,
    BadDocumentType,
    Description,
    Document,
    DocumentChange,
    DocumentNotFound,
    DocumentPage,
    DocumentType,
    FileGrant,
    NewDocument,
    Trace,
    UploadIncomplete,
    key_of,
    keys_of,
    upload_key,
)
from nomadcrew.core.documents.ports import DocumentAccess, Documents, FileTokens, WalletAccess
from nomadcrew.core.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from nomadcrew.core.files.model import MAX_FILE_BYTES, MAX_NAME, FileKind, FileTooLarge
from nomadcrew.core.files.names import named_as
from nomadcrew.core.files.ports import DirectUpload, Files
from nomadcrew.core.ids import AuditId, DocumentId, EventId, NewId, TripId, UserId, derived_id
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import rule

# Enough for every accepted type.
HEAD_BYTES = 4096
MAX_USER_AGENT = 255  # characters

# The type of a file by its first bytes; None if it is unknown.
Detect = Callable[[bytes], FileKind | None]


class Client(Struct, frozen=True):
    """The client of a request, for the audit: its network and its user agent."""

    network: str
    user_agent: str

    def trace(self, id_: UUID, now: datetime) -> Trace:
        return Trace(AuditId(id_), self.network, self.user_agent[:MAX_USER_AGENT], now)


class UploadedFile(Struct, frozen=True):
    """A file that has arrived as a whole, open for reading."""

    file: BinaryIO
    size_bytes: int


class Reservation(Struct, frozen=True):
    """A reserved document, and the request that uploads its file."""

    document_id: DocumentId
    upload: DirectUpload
    expires_at: datetime


class DocumentActions(Struct, frozen=True):
    """The actions on documents, for one caller and one time."""

    caller: UserId
    client: Client
    documents: Documents
    files: Files
    new_id: NewId
    now: datetime

    async def upload(
        self,
        trip_id: TripId | None,
        texts: Description,
        uploaded: UploadedFile,
        *,
        detect: Detect,
        fingerprint: bytes,
    ) -> Document:
        """Store a document with its file. `trip_id` None means the caller's own wallet.

        The row is reserved first, and visible last: a crash leaves neither a file without a row nor a visible row
        without a file.

        Raises:
            BadDocumentType: the type of the file is not accepted.
            FileTooLarge: the file exceeds `MAX_FILE_BYTES`.
            DomainError: as `Documents.reserve` and `Files.store` say.
        """
        _check_size(uploaded.size_bytes)
        uploaded.file.seek(0)
        kind = _accepted(detect(uploaded.file.read(HEAD_BYTES)))
        new = NewDocument(DocumentId(self.new_id()), trip_id, texts, kind, uploaded.size_bytes)
        document_id = await self._reserve(new, fingerprint)
        # A repeat writes the file too: the first attempt may have failed before this line.
        await self.files.store(key_of(document_id), uploaded.file, kind)
        return await self._complete(document_id, kind, uploaded.size_bytes)

    async def reserve(
        self, trip_id: TripId | None, texts: Description, media_type: str, size_bytes: int, *, fingerprint: bytes
    ) -> Reservation:
        """Reserve a document, whose file the client uploads to the store itself and completes then.

        Raises:
            BadDocumentType: the type is not accepted.
            FileTooLarge: the file would exceed `MAX_FILE_BYTES`.
            DomainError: as `Documents.reserve` says.
        """
        _check_size(size_bytes)
        kind = _accepted(next((kind for kind in FileKind if kind.value == media_type.strip().lower()), None))
        new = NewDocument(DocumentId(self.new_id()), trip_id, texts, kind, size_bytes)
        document_id = await self._reserve(new, fingerprint)
        upload = self.files.direct_upload(
            upload_key(document_id), kind, size_bytes, now=self.now, lifetime=UPLOAD_LIFETIME
        )
        return Reservation(document_id, upload, self.now + UPLOAD_LIFETIME)

    async def complete(self, document_id: DocumentId, *, detect: Detect) -> Document:
        """Make a reserved document visible once its file is in the store.

        The upload itself is never served, and taken once: its client could replace it for as long as the request is
        valid.

        Raises:
            UploadIncomplete: the file is not there.
            FileTooLarge, BadDocumentType: the file is not as it was announced; the reservation expires.
            DomainError: as `Documents.complete` says.
        """
        stored = await self.documents.get_completed(self._access(document_id, "create"))
        if stored is None:
            stored = await self._take_upload(document_id, detect)
        document = await self._complete(document_id, *stored)
        # In an outage the caller repeats the request: the sweep deletes the upload only with its document.
        await self.files.delete(upload_key(document_id))
        return document

    async def get(self, document_id: DocumentId) -> Document:
        """A document of the caller or of one of the caller's trips. Views within a minute are one entry."""
        view = derived_id(document_id, f"view {self.caller} {self.now:%Y%m%d%H%M}")
        return await self.documents.get(self._access(document_id, "read"), self.client.trace(view, self.now))

    async def page(
        self, trip_id: TripId | None, *, limit: int, offset: int = 0, after: After | None = None
    ) -> DocumentPage:
        access = WalletAccess(trip_id, self.caller, rule("document", "read"))
        return await self.documents.page(access, limit=limit, offset=offset, after=after)

    async def change(self, document_id: DocumentId, change: DocumentChange) -> Document:
        """Change the fields that are not None. Metadata that the type does not have is dropped.

        Raises:
            Invalid: a text is not valid.
            DomainError: as `Documents` says.
        """
        if change.name is not None:
            check_name(change.name)
        check_description(change.description)
        return await self.documents.change(
            self._access(document_id, "update"), lambda old: _changed(old, change), self._trace()
        )

    async def delete(self, document_id: DocumentId) -> None:
        """Delete a document and its file. In an outage of the file store, the sweep deletes the file later.

        Raises:
            DomainError: as `Documents` says.
        """
        await self.documents.delete(self._access(document_id, "delete"), EventId(self.new_id()), self._trace())
        with suppress(Unavailable):
            for key in keys_of(document_id):
                await self.files.delete(key)

    async def audit(
        self, document_id: DocumentId, *, limit: int, after: After | None = None
    ) -> Sequence[AuditEntry]:
        return await self.documents.audit(self._access(document_id, "read"), limit=limit, after=after)

    def token(self, document: Document, tokens: FileTokens) -> str:
        """A token that leads to a document's file, without further authentication.

        Downloads by the tokens of one minute are one entry of the audit.
        """
        download = derived_id(document.id, f"download {self.caller} {self.now:%Y%m%d%H%M}")
        grant = FileGrant(document.id, self.caller, AuditId(download), self.now + TOKEN_LIFETIME)
        return tokens.issue(grant)

    def _access(self, document_id: DocumentId, action: str) -> DocumentAccess:
        return DocumentAccess(document_id, self.caller, rule("document", action))

    def _trace(self) -> Trace:
        return self.client.trace(self.new_id(), self.now)

    async def _reserve(self, new: NewDocument, fingerprint: bytes) -> DocumentId:
        access = WalletAccess(new.trip_id, self.caller, rule("document", "create"))
        return await self.documents.reserve(access, new, fingerprint=fingerprint, now=self.now)

    async def _take_upload(self, document_id: DocumentId, detect: Detect) -> tuple[FileKind, int]:
        """Store an uploaded file as the document's; returns its type and size."""
        with cast("BinaryIO", await asyncio.to_thread(TemporaryFile)) as file:
            size_bytes = await self.files.fetch(upload_key(document_id), file, max_bytes=MAX_FILE_BYTES)
            if size_bytes is None:
                raise UploadIncomplete
            _check_size(size_bytes)
            file.seek(0)
            kind = _accepted(detect(file.read(HEAD_BYTES)))
            await self.files.store(key_of(document_id), file, kind)
        return kind, size_bytes

    async def _complete(self, document_id: DocumentId, kind: FileKind, size_bytes: int) -> Document:
        return await self.documents.complete(
            self._access(document_id, "create"), kind, size_bytes, EventId(self.new_id()), self._trace()
        )


async def link_of(
    token: str, client: Client, *, documents: Documents, files: Files, tokens: FileTokens, now: datetime
) -> str:
    """The link to the file of a token, valid for `DOCUMENT_LINK_LIFETIME`.

    Raises:
        BadToken, TokenExpired: as `FileTokens.read` says.
        DocumentNotFound: the document is deleted, or its user may no longer read it.
    """
    grant = tokens.read(token, now=now)
    try:
        document = await documents.download(grant, client.trace(grant.audit_id, now))
    except (Forbidden, NotFound, Unauthenticated):
        raise DocumentNotFound from None  # the request has no caller whom another refusal would tell anything
    name = named_as(document.name, document.kind, MAX_NAME)
    return files.link(key_of(document.id), document.kind, name, now=now, lifetime=DOCUMENT_LINK_LIFETIME)


def _changed(old: Document, change: DocumentChange) -> Description:
    type_ = DocumentType(old.type) if change.type is None else change.type
    metadata = kept(type_, old.metadata if change.metadata is None else change.metadata)
    return Description(
        type_,
        old.name if change.name is None else change.name,
        old.description if change.description is None else change.description or None,
        metadata,
        ends_on(type_, metadata),
    )


def _accepted(kind: FileKind | None) -> FileKind:
    if kind is None or kind not in ACCEPTED:
        raise BadDocumentType
    return kind


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_FILE_BYTES:
        raise FileTooLarge
    if size_bytes < 1:
        raise BadDocumentType
