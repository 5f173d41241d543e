"""Documents in wallets: /v1/wallet and /v1/trips/{id}/wallet."""

from nomadcrew.api.documents.bodies import (
    AuditView,
    CompletionIn,
    DocumentChangeIn,
    DocumentDeletedView,
    DocumentPageView,
    DocumentView,
    ReservationIn,
    ReservationView,
    description_in,
    document_view,
    entry_view,
    page_view,
    reservation_view,
)
from nomadcrew.core.documents.service import Client, DocumentActions, UploadedFile, link_of
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import DocumentId, TripId
from nomadcrew.core.pages import After
from nomadcrew.core.versions import Versioned
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.etags import based_on_match
from nomadcrew.web.file_types import file_kind
from nomadcrew.web.form_data import MAX_FORM_BYTES
from nomadcrew.web.multipart import FormReader
from nomadcrew.web.pages import AFTER, after_of, last_of, paged
from nomadcrew.web.routes import Auth, Gate, Idempotency, Param, Routes

routes = Routes(
    "documents",
    ports=(
        "document_files", "documents", "file_tokens", "idempotency", "limits", "open_sessions", "outbox",
        "versions",
    ),
)  # fmt: skip
PAGE = (
    Param("limit", "integer", "Page size, 1 to 100. Default: 20."),
    Param("offset", "integer", "Number of documents to skip, without `after`. Default: 0."),
    AFTER,
)
MAX_OFFSET = 1_000_000
# The metadata, each character escaped, and the texts.
MAX_TEXTS_BYTES = 256 << 10
_RESERVED_FIRST = "the row is reserved before its file is stored, and made visible after it"
_BY_TYPE = "the stored type decides which metadata is kept"


def document_id(call: Call) -> DocumentId:
    """The document id in the path.

    Raises:
        Invalid: the id is malformed.
    """
    return DocumentId(call.id("documentId", Invalid("The id of the document is malformed.")))


def actions(call: Call) -> DocumentActions:
    ports = call.ports
    return DocumentActions(
        call.user_id, client(call), ports.documents, ports.document_files, ports.new_id, call.now
    )


def client(call: Call) -> Client:
    """The client of a request, for the audit."""
    return Client(call.request.client_ip, call.user_agent)


@routes.post(
    "/v1/wallet/documents", status=201, bucket="upload", idempotency=Idempotency.FINGERPRINT_ONLY, form=FormReader,
    max_body_bytes=MAX_FORM_BYTES, statements=2, why=_RESERVED_FIRST,
)  # fmt: skip
async def upload_document(call: Call) -> DocumentView:
    """Upload a document to your own wallet.

    A form with two parts: `file`, a PDF, JPEG, PNG or HEIC of at most 10 MiB, whose type is detected, and
    `metadata`, JSON with documentType, `name`, and optionally `description` and `metadata`. On AWS the whole form
    is at most 4 MiB; `POST /v1/wallet/documents:presign` takes larger files. The same form sent again within 30
    seconds returns the first document.
    """
    return await _upload(call, None)


@routes.post(
    "/v1/trips/{id}/wallet/documents", status=201, gate=Gate("document", "create"), bucket="upload",
    idempotency=Idempotency.FINGERPRINT_ONLY, form=FormReader, max_body_bytes=MAX_FORM_BYTES, statements=2,
    why=_RESERVED_FIRST,
)  # fmt: skip
async def upload_group_document(call: Call) -> DocumentView:
    """Upload a document to a trip's wallet.

    As to your own wallet; on AWS, `POST /v1/trips/{id}/wallet/documents:presign` takes larger files.
    """
    return await _upload(call, call.trip_id)


async def _upload(call: Call, trip_id: TripId | None) -> DocumentView:
    form = call.request.form
    if form is None or form.file is None:
        raise Invalid("The form has no part `file`.", code="missing_file")
    texts = description_in(form.fields.get("metadata"))
    acting = actions(call)
    document = await acting.upload(
        trip_id, texts, UploadedFile(form.file, form.size_bytes), detect=file_kind, fingerprint=call.fingerprint
    )
    return document_view(document, acting.token(document, call.ports.file_tokens))


@routes.post(
    "/v1/wallet/documents:presign", status=201, bucket="upload", idempotency=Idempotency.FINGERPRINT_ONLY,
    max_body_bytes=MAX_TEXTS_BYTES,
)  # fmt: skip
async def reserve_document(call: Call, body: ReservationIn) -> ReservationView:
    """Reserve a document in your own wallet, and upload its file to the file store.

    Send the file with the request in `upload`, then `POST /v1/wallet/documents:complete`, within 15 minutes.
    """
    return await _reserve(call, None, body)


@routes.post(
    "/v1/trips/{id}/wallet/documents:presign", status=201, gate=Gate("document", "create"), bucket="upload",
    idempotency=Idempotency.FINGERPRINT_ONLY, max_body_bytes=MAX_TEXTS_BYTES,
)  # fmt: skip
async def reserve_group_document(call: Call, body: ReservationIn) -> ReservationView:
    """Reserve a document in a trip's wallet, and upload its file to the file store."""
    return await _reserve(call, call.trip_id, body)


async def _reserve(call: Call, trip_id: TripId | None, body: ReservationIn) -> ReservationView:
    reservation = await actions(call).reserve(
        trip_id, body.checked(), body.mime_type, body.file_size, fingerprint=call.fingerprint
    )
    return reservation_view(reservation)


@routes.post(
    "/v1/wallet/documents:complete", gate=Gate("document", "create"), bucket="upload", refusals=(400, 409),
    idempotency=Idempotency.NEVER, statements=2, why="a document that was completed before takes no other file",
)  # fmt: skip
async def complete_document(call: Call, body: CompletionIn) -> DocumentView:
    """Complete a reserved document, once its file is in the file store.

    Its type is detected from the file. A repeat returns the document.
    """
    acting = actions(call)
    document = await acting.complete(DocumentId(body.id), detect=file_kind)
    return document_view(document, acting.token(document, call.ports.file_tokens))


@routes.get("/v1/wallet/documents", query=PAGE, refusals=(400,))
async def list_documents(call: Call) -> DocumentPageView | Reply:
    """List the documents of your own wallet, newest first.

    The Link header leads to the next page.
    """
    return await _list(call, None)


@routes.get("/v1/trips/{id}/wallet/documents", gate=Gate("document", "read"), query=PAGE, refusals=(400,))
async def list_group_documents(call: Call) -> DocumentPageView | Reply:
    """List the documents of a trip's wallet, newest first.

    The Link header leads to the next page.
    """
    return await _list(call, call.trip_id)


async def _list(call: Call, trip_id: TripId | None) -> DocumentPageView | Reply:
    limit, after = call.count("limit", default=20, lowest=1, highest=100), after_of(call)
    offset = 0 if after else call.count("offset", default=0, highest=MAX_OFFSET)
    page = await actions(call).page(trip_id, limit=limit, offset=offset, after=after)
    last = last_of(page.items, limit, lambda document: After(document.created_at, document.id))
    return paged(call, page_view(page, limit, offset), last)


@routes.get("/v1/wallet/documents/{documentId}", gate=Gate("document", "read"), refusals=(400,), versioned=True)
async def get_document(call: Call) -> DocumentView:
    """Get a document, with a token for its file.

    Allowed for the user whose wallet it is in; in a trip's wallet, for the members of the trip.
    """
    acting = actions(call)
    document = await acting.get(document_id(call))
    return document_view(document, acting.token(document, call.ports.file_tokens))


@routes.put(
    "/v1/wallet/documents/{documentId}",
    gate=Gate("document", "update"),
    refusals=(400,),
    statements=2,
    why=_BY_TYPE,
    versioned=True,
)
async def update_document(call: Call, body: DocumentChangeIn) -> DocumentView:
    """Update a document.

    Allowed for its uploader. Absent fields stay; metadata that the type does not have is dropped.
    """
    async with based_on_match(call, Versioned.DOCUMENT, document_id(call), body.change(), get_document):
        document = await actions(call).change(document_id(call), body.change())
    return document_view(document)


@routes.delete(
    "/v1/wallet/documents/{documentId}", gate=Gate("document", "delete"), refusals=(400,),
    idempotency=Idempotency.NEVER,
)  # fmt: skip
async def delete_document(call: Call) -> DocumentDeletedView:
    """Delete a document and its file.

    Allowed for its uploader.
    """
    await actions(call).delete(document_id(call))
    return DocumentDeletedView("Document deleted successfully")


@routes.get(
    "/v1/wallet/documents/{documentId}/audit", gate=Gate("document", "read"), query=(PAGE[0], AFTER),
    refusals=(400,),
)  # fmt: skip
async def list_document_audit(call: Call) -> AuditView | Reply:
    """List the actions on a document, newest first.

    Its uploader gets all of them, also for 30 days after its deletion. Members of its trip get their own.
    """
    limit = call.count("limit", default=20, lowest=1, highest=100)
    entries = await actions(call).audit(document_id(call), limit=limit, after=after_of(call))
    last = last_of(entries, limit, lambda entry: After(entry.at, entry.id))
    return paged(call, AuditView([entry_view(entry) for entry in entries]), last)


@routes.get("/v1/wallet/files/{token}", auth=Auth.PUBLIC, status=307, refusals=(400, 404))
async def get_document_file(call: Call) -> Reply:
    """Get the file of a document, by the token in downloadUrl, valid for 15 minutes.

    A redirect to the file store, which sends ranges too. The token is the only credential: S3 refuses a second one.
    """
    ports = call.ports
    link = await link_of(
        call.request.params["token"],
        client(call),
        documents=ports.documents,
        files=ports.document_files,
        tokens=ports.file_tokens,
        now=call.now,
    )
    return Reply(307, headers={"location": link, "cache-control": "no-store"})
