"""Builds chat events, for stores that do not build them in SQL. A message has two forms, both read by the app."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from nomadcrew.core.chat.model import SOURCE, Attachment, Message, Reaction, Sender
from nomadcrew.core.events import Audience, Event
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import AttachmentId, EventId, MessageId, TripId, UserId


def sent(event_id: EventId, message: Message, author: UserId, mentions: Iterable[UserId]) -> Event:
    payload = _forms(message) | {"mentions": [str(user_id) for user_id in mentions]}
    return _event(event_id, "CHAT_MESSAGE_SENT", message.trip_id, author, message.created_at, payload)


def edited(event_id: EventId, message: Message, author: UserId, *, now: datetime) -> Event:
    return _event(event_id, "CHAT_MESSAGE_EDITED", message.trip_id, author, now, _forms(message))


def deleted(event_id: EventId, trip_id: TripId, message_id: MessageId, actor: UserId, *, now: datetime) -> Event:
    payload = {"messageId": str(message_id), "tripId": str(trip_id)}
    return _event(event_id, "CHAT_MESSAGE_DELETED", trip_id, actor, now, payload)


def reacted(event_id: EventId, reaction: Reaction, sender: Sender, *, removed: bool = False) -> Event:
    payload = {
        "messageId": str(reaction.message_id),
        "tripId": str(reaction.trip_id),
        "reaction": reaction.emoji,
        "user": person(sender),
    }
    type_ = "CHAT_REACTION_REMOVED" if removed else "CHAT_REACTION_ADDED"
    return _event(event_id, type_, reaction.trip_id, sender.id, reaction.created_at, payload)


def read(event_id: EventId, trip_id: TripId, message_id: MessageId, reader: Sender, *, now: datetime) -> Event:
    payload = {
        "messageId": str(message_id),
        "tripId": str(trip_id),
        "userId": str(reader.id),
        "userName": reader.name,
        "timestamp": utc_text(now),
        "user": person(reader),
    }
    if reader.avatar:
        payload["userAvatar"] = reader.avatar
    return _event(event_id, "CHAT_READ_RECEIPT", trip_id, reader.id, now, payload)


def typing(event_id: EventId, trip_id: TripId, sender: Sender, *, is_typing: bool, now: datetime) -> Event:
    payload = {
        "tripId": str(trip_id),
        "userId": str(sender.id),
        "username": sender.name,
        "isTyping": is_typing,
        "user": person(sender),
    }
    return replace(_event(event_id, "CHAT_TYPING_STATUS", trip_id, sender.id, now, payload), kept=False)


def person(sender: Sender) -> dict[str, str]:
    """A user in an event. An empty avatar is left out: the client accepts an absent one only."""
    payload = {"id": str(sender.id), "name": sender.name}
    return payload | {"avatar": sender.avatar} if sender.avatar else payload


def attachment_json(attachment: Attachment) -> dict[str, Any]:
    """An attachment as stored with its message, and in the second form of a message."""
    return {
        "id": str(attachment.id),
        "type": attachment.kind.value,
        "size_bytes": attachment.size_bytes,
        "name": attachment.name,
    }


def stored_attachment(text: str | None) -> Attachment | None:
    """Decode the JSON text of `attachment_json`."""
    if text is None:
        return None
    fields = json.loads(text)
    return Attachment(
        AttachmentId(UUID(fields["id"])), FileKind(fields["type"]), fields["size_bytes"], fields["name"]
    )


def utc_text(moment: datetime) -> str:
    """A UTC time in an event."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"


def _forms(message: Message) -> dict[str, Any]:
    """The payload with both forms of a message: camelCase fields, and a snake_case `message`."""
    assert message.sender is not None, "the sender of a new event exists"
    sender, reply = person(message.sender), message.reply_to_id
    text, at = message.text, utc_text(message.created_at)
    id_, trip = str(message.id), str(message.trip_id)
    camel: dict[str, Any] = {"messageId": id_, "tripId": trip, "content": text, "user": sender, "timestamp": at}
    snake: dict[str, Any] = {"id": id_, "trip_id": trip, "content": text, "sender": sender, "created_at": at}
    if reply is not None:
        camel["replyToId"] = snake["reply_to_id"] = str(reply)
    if message.attachment is not None:
        snake["attachment"] = attachment_json(message.attachment)
        camel["attachment"] = {("sizeBytes" if name == "size_bytes" else name): value
                               for name, value in snake["attachment"].items()}  # fmt: skip
    if message.edited_at is not None:
        camel["editedAt"] = snake["updated_at"] = utc_text(message.edited_at)
    return camel | {"message": snake}


def _event(
    event_id: EventId, type_: str, trip_id: TripId, actor: UserId, at: datetime, payload: dict[str, Any]
) -> Event:
    return Event(event_id, type_, SOURCE, trip_id, actor, None, Audience.TRIP, at, json.dumps(payload))
