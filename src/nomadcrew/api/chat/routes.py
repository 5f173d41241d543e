"""A trip's chat, /v1/trips/{id}/chat, and the search of a trip, which reads it too."""

from nomadcrew.api.chat.bodies import (
    EmojiIn,
    HistoryView,
    MessageChangeIn,
    MessageView,
    NewMessageIn,
    ReactedView,
    ReactionView,
    ReadIn,
    ReceiptView,
    SentView,
    StatusView,
    UploadedView,
    attachment_id_of,
    history_view,
    message_id_of,
    message_view,
    reaction_view,
    receipt_view,
    sent_view,
    uploaded_view,
)
from nomadcrew.api.find.bodies import FoundView, found_view
from nomadcrew.core.chat import attachments, service
from nomadcrew.core.chat.model import words_of
from nomadcrew.core.files.model import MAX_FILE_BYTES
from nomadcrew.core.find import service as finding
from nomadcrew.core.ids import AttachmentId, MessageId
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.routes import Gate, Idempotency, Param, Routes

routes = Routes(
    "chat",
    ports=("attachments", "chat", "files", "finder", "idempotency", "limits", "open_sessions"),
    uses_outbox=False,
)
HISTORY = (
    Param("limit", "integer", "Page size, 1 to 100. Default: 50."),
    Param("cursor", "string", "A message id, or `next_cursor` of the previous page. Returns older messages."),
    Param("before", "string", "Alias of `cursor`."),
    Param("after", "string", "A message id or a cursor. Returns newer messages, oldest first."),
    Param("offset", "integer", "Number of messages to skip. Default: 0."),
    Param("q", "string", "Returns messages that contain all these words, newest first. A page may be incomplete."),
)
FIND = (
    Param("q", "string", "1 to 8 words, at most 200 characters. Case and accents are ignored.", required=True),
    Param("limit", "integer", "Most results of each kind, 1 to 20. Default: 5."),
)
NAME = Param("name", "string", "File name for downloads.")
MAX_OFFSET = 10_000


def message_id(call: Call) -> MessageId:
    """The message id in the path.

    Raises:
        MessageNotFound: the id is malformed.
    """
    return message_id_of(call.request.params["messageId"])


@routes.post(
    "/v1/trips/{id}/chat/messages", status=201, gate=Gate("chat", "create"), bucket="chat",
    idempotency=Idempotency.FINGERPRINT, refusals=(409,),
)  # fmt: skip
async def send_message(call: Call, body: NewMessageIn) -> SentView:
    """Send a message.

    A client's own `id` makes retries safe: the message is stored once. Without one, the same text sent again within
    30 seconds returns the first message. With an `attachmentId`, from an upload, the text is optional.
    """
    message = await service.send_message(
        call.trip_id,
        body.text,
        call.user_id,
        message_id=body.client_id,
        reply_to_id=None if body.reply_to_id is None else MessageId(body.reply_to_id),
        attachment_id=None if body.attachment_id is None else AttachmentId(body.attachment_id),
        chat=call.ports.chat,
        limits=call.ports.limits,
        new_id=call.ports.new_id,
        now=call.now,
        fingerprint=call.fingerprint,
    )
    return sent_view(message, call.user_id)


@routes.get("/v1/trips/{id}/chat/messages", gate=Gate("chat", "read"), query=HISTORY, refusals=(400,))
async def list_messages(call: Call) -> HistoryView:
    """List or search a chat's messages, newest first.

    With `after`, newer messages, oldest first. To miss none, connect the socket before this request; drop
    duplicates by id.
    """
    limit = call.count("limit", default=50, lowest=1, highest=100)
    before = call.query("before") or call.query("cursor") or None
    page = await service.history(
        call.trip_id,
        call.user_id,
        before=before,
        after=call.query("after") or None,
        query=call.query("q") or None,
        limit=limit,
        offset=call.count("offset", default=0, highest=MAX_OFFSET),
        chat=call.ports.chat,
    )
    return history_view(page, limit=limit, before=before)


@routes.post(
    "/v1/trips/{id}/chat/attachments", status=201, gate=Gate("chat", "create"), bucket="upload",
    idempotency=Idempotency.FINGERPRINT, refusals=(404,), query=(NAME,), raw=True, max_body_bytes=MAX_FILE_BYTES,
)  # fmt: skip
async def upload_attachment(call: Call) -> UploadedView:
    """Upload a file for a message.

    The body is the file: a JPEG, PNG or WebP picture or a PDF. Content-Type is ignored. A picture's metadata, such
    as place and time, is removed. At most 10 MiB; on AWS 4 MiB, since API Gateway passes bodies on as text. A file
    that no message refers to within a day is deleted.
    """
    uploaded = await attachments.upload(
        call.trip_id,
        call.request.body,
        call.query("name") or "",
        call.user_id,
        attachments=call.ports.attachments,
        files=call.ports.files,
        new_id=call.ports.new_id,
        now=call.now,
        fingerprint=call.fingerprint,
    )
    return uploaded_view(uploaded)


@routes.get("/v1/trips/{id}/chat/attachments/{attachmentId}", status=302, gate=Gate("chat", "read"))
async def get_attachment(call: Call) -> Reply:
    """Get a download link, valid for 15 minutes.

    The link needs no token, and S3 refuses one: follow the redirect without the Authorization header.
    """
    link = await attachments.link_to(
        call.trip_id,
        attachment_id_of(call.request.params["attachmentId"]),
        call.user_id,
        attachments=call.ports.attachments,
        files=call.ports.files,
        now=call.now,
    )
    return Reply(302, headers={"location": link, "cache-control": "no-store"})


@routes.put("/v1/trips/{id}/chat/messages/read", gate=Gate("chat", "read"))
async def mark_read(call: Call, body: ReadIn) -> StatusView:
    """Mark messages as read, up to a message.

    The last read message never moves back.
    """
    return await _mark_read(call, body)


@routes.post("/v1/trips/{id}/chat/messages/read", gate=Gate("chat", "read"))
async def mark_read_by_post(call: Call, body: ReadIn) -> StatusView:
    """Mark messages as read, with the shipped app's method."""
    return await _mark_read(call, body)


@routes.put("/v1/trips/{id}/chat/last-read", gate=Gate("chat", "read"))
async def mark_last_read(call: Call, body: ReadIn) -> StatusView:
    """Mark messages as read, at the path of older apps."""
    return await _mark_read(call, body)


async def _mark_read(call: Call, body: ReadIn) -> StatusView:
    await service.mark_read(
        call.trip_id, body.message, call.user_id, chat=call.ports.chat, new_id=call.ports.new_id, now=call.now
    )
    return StatusView("Messages marked as read")


@routes.get("/v1/trips/{id}/chat/read-receipts", gate=Gate("chat", "read"))
async def list_receipts(call: Call) -> list[ReceiptView]:
    """List each member's last read message, latest first."""
    receipts = await service.read_by(call.trip_id, call.user_id, chat=call.ports.chat)
    return [receipt_view(receipt) for receipt in receipts]


@routes.put(
    "/v1/trips/{id}/chat/messages/{messageId}", gate=Gate("chat", "update"), bucket="chat", refusals=(400, 404)
)
async def edit_message(call: Call, body: MessageChangeIn) -> MessageView:
    """Edit a message.

    Allowed for its author, within 15 minutes after sending it.
    """
    message = await service.edit_message(
        call.trip_id,
        message_id(call),
        body.text,
        call.user_id,
        chat=call.ports.chat,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return message_view(message)


@routes.delete("/v1/trips/{id}/chat/messages/{messageId}", gate=Gate("chat", "delete"), refusals=(404,))
async def delete_message(call: Call) -> StatusView:
    """Delete a message.

    Allowed for its author and for admins. A tombstone replaces the message.
    """
    await service.delete_message(
        call.trip_id,
        message_id(call),
        call.user_id,
        chat=call.ports.chat,
        files=call.ports.files,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return StatusView("Message deleted")


@routes.get("/v1/trips/{id}/chat/messages/{messageId}/reactions", gate=Gate("chat", "read"), refusals=(404,))
async def list_reactions(call: Call) -> list[ReactionView]:
    """List a message's reactions, oldest first."""
    reactions = await service.list_reactions(call.trip_id, message_id(call), call.user_id, chat=call.ports.chat)
    return [reaction_view(reaction) for reaction in reactions]


@routes.post(
    "/v1/trips/{id}/chat/messages/{messageId}/reactions", status=201, gate=Gate("chat", "react"), bucket="chat",
    refusals=(400, 404),
)  # fmt: skip
async def react(call: Call, body: EmojiIn) -> ReactedView:
    """React to a message.

    Repeating an emoji changes nothing.
    """
    reaction = await service.react(
        call.trip_id,
        message_id(call),
        body.emoji,
        call.user_id,
        chat=call.ports.chat,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return ReactedView(reaction.message_id, reaction.user_id, reaction.emoji)


@routes.delete("/v1/trips/{id}/chat/messages/{messageId}/reactions/{emoji}", gate=Gate("chat", "react"))
async def unreact(call: Call) -> StatusView:
    """Remove a reaction of the caller."""
    await service.unreact(
        call.trip_id,
        message_id(call),
        call.request.params["emoji"],
        call.user_id,
        chat=call.ports.chat,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return StatusView("Reaction removed")


@routes.get("/v1/trips/{id}/find", gate=Gate("trip", "find"), query=FIND, refusals=(400,))
async def find(call: Call) -> FoundView:
    """Find members, documents, polls, to-dos and messages.

    Each result has all words: a member in the names, a document in its name, a poll in its question and options.
    Results of a kind are together, newest first; `more` has the kinds that may have others. Only the newest 10,000
    messages, 10,000 to-dos and 1,000 polls are searched.
    """
    words = words_of(call.query("q") or "")
    found = await finding.find(
        call.trip_id,
        words,
        call.user_id,
        limit=call.count("limit", default=5, lowest=1, highest=20),
        finder=call.ports.finder,
    )
    return found_view(found, words)
