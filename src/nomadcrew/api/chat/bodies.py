"""Bodies of the chat's routes, and payloads of its socket frames."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from nomadcrew.core.chat.model import (
    Attachment,
    AttachmentNotFound,
    Message,
    MessageNotFound,
    MessagePage,
    Reaction,
    Receipt,
    Sender,
)
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import AttachmentId, MessageId, parse_uuid

DELETED_SENDER = "Former member"


class NewMessageIn(Struct, rename="camel"):
    """A message to send. Its text is `message` or `content`, optional with an attachment. The client's own id, if
    any, is `id`, `messageId` or `temp_id`. Null fields count as absent.
    """

    message: str | None = None
    content: str | None = None
    reply_to_id: UUID | None = None
    id: UUID | None = None
    message_id: UUID | None = None
    attachment_id: UUID | None = None
    temp_id: str | None = msgspec.field(name="temp_id", default=None)

    @property
    def text(self) -> str:
        return self.message or self.content or ""

    @property
    def client_id(self) -> MessageId | None:
        """The client's own id, None without one. A `temp_id` that is not a UUID is ignored."""
        id_ = self.id or self.message_id or parse_uuid(self.temp_id or "")
        return None if id_ is None else MessageId(id_)


class MessageChangeIn(Struct):
    """An edited text: `content`, or `message` as in a new message."""

    content: str | None = None
    message: str | None = None

    @property
    def text(self) -> str:
        return self.content or self.message or ""


class ReadIn(Struct, rename="camel"):
    """The last message read, under any of the three names that clients use."""

    last_read_message_id: UUID | None = None
    message_id: UUID | None = msgspec.field(name="message_id", default=None)
    last_message_id: UUID | None = msgspec.field(name="last_message_id", default=None)

    @property
    def message(self) -> MessageId:
        """The last message read. Raises `Invalid` if all three fields are absent."""
        id_ = self.last_read_message_id or self.message_id or self.last_message_id
        if id_ is None:
            raise Invalid("`lastReadMessageId` is required.", code="invalid_request_payload")
        return MessageId(id_)


class EmojiIn(Struct):
    emoji: str


class SenderView(Struct, omit_defaults=True):
    id: UUID
    name: str
    avatar: str = ""


class ReactionCountView(Struct):
    emoji: str
    count: int
    mine: bool


class AttachmentView(Struct):
    """A file in a message. Its route returns download links, valid for 15 minutes."""

    id: UUID
    type: str
    size_bytes: int
    name: str


class UploadedView(Struct, rename="camel"):
    """An uploaded file; a message refers to it by `id`. `sizeBytes` is the stored size, without metadata."""

    id: UUID
    type: str
    size_bytes: int
    name: str


class MessageView(Struct, omit_defaults=True):
    """A message in the form of the app's list."""

    id: UUID
    trip_id: UUID
    content: str
    sender: SenderView
    created_at: datetime
    updated_at: datetime | None = None
    reply_to_id: UUID | None = None
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    reactions: list[ReactionCountView] = []
    attachment: AttachmentView | None = None


class SentView(Struct, rename="camel", omit_defaults=True):
    """A sent message. `message` is its text, a name kept from the monolith."""

    id: UUID
    trip_id: UUID
    user_id: UUID
    message: str
    created_at: datetime
    reply_to_id: UUID | None = None
    attachment: UploadedView | None = None


class CursorPagination(Struct, omit_defaults=True):
    has_more: bool
    limit: int
    next_cursor: str | None = None
    before: str | None = None


class HistoryView(Struct):
    messages: list[MessageView]
    pagination: CursorPagination


class ReactedView(Struct, rename="camel"):
    message_id: UUID
    user_id: UUID
    emoji: str


class ReactionView(Struct):
    id: UUID
    message_id: UUID
    trip_id: UUID
    user_id: UUID
    emoji: str
    created_at: datetime


class ReceiptView(Struct):
    user: SenderView
    message_id: UUID
    read_at: datetime


class StatusView(Struct):
    status: str
    success: bool = True


class SocketMessage(Struct, rename="camel"):
    """A frame's message. A sender in the frame is ignored: the caller is the sender."""

    trip_id: UUID
    content: str | None = None
    message: str | None = None
    message_id: UUID | None = None
    reply_to_id: UUID | None = None
    attachment_id: UUID | None = None

    @property
    def text(self) -> str:
        return self.content or self.message or ""


class SocketTyping(Struct, rename="camel"):
    trip_id: UUID
    is_typing: bool


class SocketRead(Struct, rename="camel"):
    trip_id: UUID
    message_id: UUID


def message_id_of(text: str) -> MessageId:
    """A message id in a path.

    Raises:
        MessageNotFound: the id is malformed.
    """
    value = parse_uuid(text)
    if value is None:
        raise MessageNotFound
    return MessageId(value)


def attachment_id_of(text: str) -> AttachmentId:
    """An attachment id in a path.

    Raises:
        AttachmentNotFound: the id is malformed.
    """
    value = parse_uuid(text)
    if value is None:
        raise AttachmentNotFound
    return AttachmentId(value)


def uploaded_view(attachment: Attachment) -> UploadedView:
    return UploadedView(attachment.id, attachment.kind.value, attachment.size_bytes, attachment.name)


def _attachment_view(attachment: Attachment) -> AttachmentView:
    return AttachmentView(attachment.id, attachment.kind.value, attachment.size_bytes, attachment.name)


def message_view(message: Message) -> MessageView:
    return MessageView(
        message.id,
        message.trip_id,
        message.text,
        # The app does not show a message without a sender.
        SenderView(UUID(int=0), DELETED_SENDER) if message.sender is None else _sender_view(message.sender),
        message.created_at,
        message.edited_at,
        message.reply_to_id,
        message.edited_at,
        message.deleted_at,
        [ReactionCountView(reaction.emoji, reaction.count, reaction.mine) for reaction in message.reactions],
        None if message.attachment is None else _attachment_view(message.attachment),
    )


def sent_view(message: Message, author: UUID) -> SentView:
    return SentView(
        message.id,
        message.trip_id,
        author,
        message.text,
        message.created_at,
        message.reply_to_id,
        None if message.attachment is None else uploaded_view(message.attachment),
    )


def history_view(page: MessagePage, *, limit: int, before: str | None) -> HistoryView:
    pagination = CursorPagination(page.next is not None, limit, page.next, before)
    return HistoryView([message_view(message) for message in page.messages], pagination)


def reaction_view(reaction: Reaction) -> ReactionView:
    return ReactionView(
        reaction.id,
        reaction.message_id,
        reaction.trip_id,
        reaction.user_id,
        reaction.emoji,
        reaction.created_at,
    )


def receipt_view(receipt: Receipt) -> ReceiptView:
    return ReceiptView(_sender_view(receipt.reader), receipt.message_id, receipt.read_at)


def ack_payload(message: Message) -> dict[str, Any]:
    """The payload that acknowledges a message to its sender's socket."""
    return {"messageId": message.id, "tripId": message.trip_id, "createdAt": message.created_at}


def _sender_view(sender: Sender) -> SenderView:
    return SenderView(sender.id, sender.name, sender.avatar)
