"""A trip's chat: /v1/trips/{id}/chat."""

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
from nomadcrew.core.chat import attachments, service
from nomadcrew.core.files.model import MAX_FILE_BYTES
from nomadcrew.core.ids import AttachmentId, MessageId
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.routes import Gate, Param, Replay, Routes

routes = Routes("chat", ports=("attachments", "chat", "files", "limits", "replies"), tells=False)
HISTORY = (
    Param("limit", "integer", "How many, 1 to 100; 50 unless told."),
    Param("cursor", "string", "A message's id, or the `next_cursor` of the page before: what was written earlier."),
    Param("before", "string", "The same as `cursor`."),
    Param("after", "string", "A message's id or a cursor: what was written later, oldest first."),
    Param("offset", "integer", "How many to pass over; 0 unless told."),
    Param("q", "string", "Only messages that hold all of these words, newest first; a page may be short of them."),
)
NAME = Param("name", "string", "What the file is called, for whoever keeps it.")
MAX_OFFSET = 10_000


def message_id(call: Call) -> MessageId:
    """The message in the path; a malformed id is no message's."""
    return message_id_of(call.request.params["messageId"])


@routes.post(
    "/v1/trips/{id}/chat/messages", status=201, gate=Gate("chat", "create"), bucket="chat",
    replay=Replay.FINGERPRINT, refusals=(409,),
)  # fmt: skip
async def send_message(call: Call, body: NewMessageIn) -> SentView:
    """Write a message.

    With an `id` made by the client, sending it again is the same message; without one, the same text sent again
    within 30 seconds is. With an `attachmentId`, which is what uploading a file gave, there need not be a text.
    """
    message = await service.send_message(
        call.trip_id,
        body.text,
        call.me,
        message_id=body.client_id,
        reply_to_id=None if body.reply_to_id is None else MessageId(body.reply_to_id),
        attachment_id=None if body.attachment_id is None else AttachmentId(body.attachment_id),
        chat=call.ports.chat,
        limits=call.ports.limits,
        new_id=call.ports.new_id,
        now=call.now,
        fingerprint=call.fingerprint,
    )
    return sent_view(message, call.me)


@routes.get("/v1/trips/{id}/chat/messages", gate=Gate("chat", "read"), query=HISTORY, refusals=(400,))
async def list_messages(call: Call) -> HistoryView:
    """Read or search the chat, newest first.

    With `after`, what was written since, oldest first: connect the socket first and ask then, and nothing is
    missed; what comes twice has the same id.
    """
    limit = call.count("limit", default=50, lowest=1, highest=100)
    before = call.query("before") or call.query("cursor") or None
    page = await service.history(
        call.trip_id,
        call.me,
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
    replay=Replay.FINGERPRINT, refusals=(404,), query=(NAME,), raw=True, max_body_bytes=MAX_FILE_BYTES,
)  # fmt: skip
async def upload_attachment(call: Call) -> UploadedView:
    """Upload a file for a message: a JPEG, PNG or WebP picture or a PDF, as the bytes of the body.

    Its bytes say what it is, whatever the Content-Type. What a picture tells of where and when it was taken is
    removed. At most 10 MiB; behind AWS's gateway 4 MiB, for it hands bodies on as text, and what is larger would
    have to go to the store directly. A file that no message names within a day is deleted.
    """
    uploaded = await attachments.upload(
        call.trip_id,
        call.request.body,
        call.query("name") or "",
        call.me,
        attachments=call.ports.attachments,
        files=call.ports.files,
        new_id=call.ports.new_id,
        now=call.now,
        fingerprint=call.fingerprint,
    )
    return uploaded_view(uploaded)


@routes.get("/v1/trips/{id}/chat/attachments/{attachmentId}", status=302, gate=Gate("chat", "read"))
async def get_attachment(call: Call) -> Reply:
    """Where a file is, for a quarter of an hour.

    The address needs no token, and S3 refuses one: leave the Authorization header out where it leads.
    """
    link = await attachments.link_to(
        call.trip_id,
        attachment_id_of(call.request.params["attachmentId"]),
        call.me,
        attachments=call.ports.attachments,
        files=call.ports.files,
        now=call.now,
    )
    return Reply(302, headers={"location": link, "cache-control": "no-store"})


@routes.put("/v1/trips/{id}/chat/messages/read", gate=Gate("chat", "read"))
async def mark_read(call: Call, body: ReadIn) -> StatusView:
    """Say up to which message I have read; it never moves back."""
    return await _mark_read(call, body)


@routes.post("/v1/trips/{id}/chat/messages/read", gate=Gate("chat", "read"))
async def mark_read_by_post(call: Call, body: ReadIn) -> StatusView:
    """Say up to which message I have read, as the shipped app does."""
    return await _mark_read(call, body)


@routes.put("/v1/trips/{id}/chat/last-read", gate=Gate("chat", "read"))
async def mark_last_read(call: Call, body: ReadIn) -> StatusView:
    """Say up to which message I have read, under the name older apps know."""
    return await _mark_read(call, body)


async def _mark_read(call: Call, body: ReadIn) -> StatusView:
    await service.mark_read(
        call.trip_id, body.message, call.me, chat=call.ports.chat, new_id=call.ports.new_id, now=call.now
    )
    return StatusView("Messages marked as read")


@routes.get("/v1/trips/{id}/chat/read-receipts", gate=Gate("chat", "read"))
async def list_receipts(call: Call) -> list[ReceiptView]:
    """List up to which message each member has read, latest first."""
    return [receipt_view(one) for one in await service.read_by(call.trip_id, call.me, chat=call.ports.chat)]


@routes.put(
    "/v1/trips/{id}/chat/messages/{messageId}", gate=Gate("chat", "update"), bucket="chat", refusals=(400, 404)
)
async def edit_message(call: Call, body: MessageChangeIn) -> MessageView:
    """Edit a message of mine, for fifteen minutes after it was sent."""
    message = await service.edit_message(
        call.trip_id,
        message_id(call),
        body.text,
        call.me,
        chat=call.ports.chat,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return message_view(message)


@routes.delete("/v1/trips/{id}/chat/messages/{messageId}", gate=Gate("chat", "delete"), refusals=(404,))
async def delete_message(call: Call) -> StatusView:
    """Delete a message of mine; admins may delete anybody's.

    A tombstone stays in its place.
    """
    await service.delete_message(
        call.trip_id, message_id(call), call.me, chat=call.ports.chat, new_id=call.ports.new_id, now=call.now
    )
    return StatusView("Message deleted")


@routes.get("/v1/trips/{id}/chat/messages/{messageId}/reactions", gate=Gate("chat", "read"), refusals=(404,))
async def list_reactions(call: Call) -> list[ReactionView]:
    """List who reacted to a message with what, oldest first."""
    found = await service.list_reactions(call.trip_id, message_id(call), call.me, chat=call.ports.chat)
    return [reaction_view(reaction) for reaction in found]


@routes.post(
    "/v1/trips/{id}/chat/messages/{messageId}/reactions", status=201, gate=Gate("chat", "react"), bucket="chat",
    refusals=(400, 404),
)  # fmt: skip
async def react(call: Call, body: EmojiIn) -> ReactedView:
    """React to a message; once more with the same emoji is nothing more."""
    reaction = await service.react(
        call.trip_id,
        message_id(call),
        body.emoji,
        call.me,
        chat=call.ports.chat,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return ReactedView(reaction.message_id, reaction.user_id, reaction.emoji)


@routes.delete("/v1/trips/{id}/chat/messages/{messageId}/reactions/{emoji}", gate=Gate("chat", "react"))
async def unreact(call: Call) -> StatusView:
    """Take a reaction of mine back."""
    await service.unreact(
        call.trip_id,
        message_id(call),
        call.request.params["emoji"],
        call.me,
        chat=call.ports.chat,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return StatusView("Reaction removed")
