"""Texts of notifications: in the list, on sockets and in pushes."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from nomadcrew.core.files.model import FileKind
from nomadcrew.core.graphemes import shortened

APP_NAME = "NomadCrew"
T = TypeVar("T")
MAX_PREVIEW = 100  # characters

_WORD = re.compile(r"\{(\w+)\}")
_INSTEAD = {"addedUserName": "memberName"}
_NEUTRAL = {
    "tripName": "your trip", "role": "changed", "todoTitle": "a task", "question": "a poll",
    "placeName": "the destination", "documentName": "A document", "endsOn": "soon",
}  # fmt: skip

_TITLES = {
    "TRIP_INVITATION": "Trip invitation",
    "TRIP_INVITATION_RECEIVED": "Trip invitation",
    "TRIP_INVITATION_RECEIVED reminder": "Invitation ends soon",
    "TRIP_MEMBER_JOINED": "New member",
    "TRIP_MEMBER_LEFT": "Member left",
    "TRIP_UPDATED": "Trip updated",
    "TRIP_UPDATE exported": "Export ready",
    "TRIP_UPDATE webhook_disabled": "Webhook disabled",
    "TRIP_UPDATE poll_created": "New poll",
    "TRIP_UPDATE poll_closed": "Poll closed",
    "TRIP_UPDATE poll_reminder": "Poll ends soon",
    "TODO_ASSIGNED": "Task assigned",
    "TODO_ASSIGNED due": "Task due",
    "TODO_COMPLETED": "Task completed",
    "DOCUMENT_ENDS": "Document ends soon",
}


class _Sentence:
    """A sentence with words in braces, parsed once: a page of notifications makes many of them."""

    __slots__ = ("_template", "_words")

    def __init__(self, text: str) -> None:
        self._template = _WORD.sub("%s", text)
        # Each has a key of the metadata, the key in its place, and the neutral word.
        self._words = [(key, _INSTEAD.get(key, key), _NEUTRAL.get(key, "Someone")) for key in _WORD.findall(text)]

    def about(self, metadata: Mapping[str, Any]) -> str:
        return self._template % tuple(
            [metadata.get(key) or metadata.get(instead) or neutral for key, instead, neutral in self._words]
        )


_SENTENCES = {
    "TRIP_INVITATION": _Sentence("{inviterName} invited you to {tripName}"),
    "TRIP_INVITATION_RECEIVED": _Sentence("{inviterName} invited you to {tripName}"),
    "TRIP_INVITATION_RECEIVED reminder": _Sentence("{inviterName} still invites you to {tripName}"),
    "TRIP_INVITATION_ACCEPTED": _Sentence("{addedUserName} accepted your invitation to {tripName}"),
    "TRIP_INVITATION_DECLINED": _Sentence("{addedUserName} declined your invitation to {tripName}"),
    "MEMBER_ADDED": _Sentence("{addedUserName} joined {tripName}"),
    "TRIP_MEMBER_JOINED": _Sentence("{addedUserName} joined {tripName}"),
    "TRIP_MEMBER_LEFT": _Sentence("{addedUserName} left {tripName}"),
    "MEMBERSHIP_CHANGE": _Sentence("Your role on {tripName} is now {role}"),
    "MEMBERSHIP_CHANGE removed": _Sentence("You were removed from {tripName}"),
    "TRIP_UPDATE": _Sentence("{updaterName} updated {tripName}"),
    "TRIP_UPDATE exported": _Sentence("The export of {tripName} is ready"),
    "TRIP_UPDATE webhook_disabled": _Sentence("A webhook of {tripName} was disabled: its server refuses events"),
    "TRIP_UPDATE poll_created": _Sentence("{updaterName} asks: {question}"),
    "TRIP_UPDATE poll_closed": _Sentence("The poll is closed: {question}"),
    "TRIP_UPDATE poll_reminder": _Sentence("A day left to vote: {question}"),
    "TRIP_UPDATED": _Sentence("{updaterName} updated {tripName}"),
    "TODO_ASSIGNED due": _Sentence("{todoTitle} is due within a day"),
    "TODO_ASSIGNED": _Sentence("{assignerName} assigned {todoTitle} to you"),
    "TODO_COMPLETED": _Sentence("{completerName} completed {todoTitle}"),
    "TASK_COMPLETED": _Sentence("{completerName} completed {todoTitle}"),
    "CHAT_MESSAGE": _Sentence("New message from {senderName}"),
    "NEW_CHAT_MESSAGE": _Sentence("New message from {senderName}"),
    "LOCATION_SHARED": _Sentence("{addedUserName} shares their location on {tripName}"),
    "DOCUMENT_ENDS": _Sentence("{documentName} ends on {endsOn}"),
    "LOCATION_SHARED arrived": _Sentence("{addedUserName} arrived at {placeName}"),
}
_OTHER = _Sentence("You have a new notification")


def notification_payload(id_: UUID, type_: str, metadata: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """A new notification in an event, in the form of the list."""
    return {
        "id": str(id_),
        "message": message(type_, metadata),
        "read": False,
        "createdAt": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "type": type_,
        "metadata": metadata,
    }


def message(type_: str, metadata: Mapping[str, Any]) -> str:
    """The sentence of a type; missing names are replaced by neutral words."""
    if "role" in metadata:
        metadata = {**metadata, "role": str(metadata["role"] or "").lower()}
    return _of_change(_SENTENCES, type_, metadata, _OTHER).about(metadata)


def push_title(type_: str, metadata: Mapping[str, Any]) -> str:
    if type_ == "CHAT_MESSAGE":
        return str(metadata.get("senderName") or APP_NAME)
    return _of_change(_TITLES, type_, metadata, APP_NAME)


def _of_change(texts: Mapping[str, T], type_: str, metadata: Mapping[str, Any], otherwise: T) -> T:
    """The text of the type and its change, or of the type alone."""
    change = metadata.get("change")
    return (texts.get(f"{type_} {change}") if change else None) or texts.get(type_, otherwise)


def push_body(type_: str, metadata: Mapping[str, Any]) -> str:
    if type_ == "CHAT_MESSAGE" and metadata.get("messagePreview"):
        return str(metadata["messagePreview"])
    return message(type_, metadata)


def preview(text: str, limit: int = MAX_PREVIEW) -> str:
    """`text` in at most `limit` code points, never cut inside a visible character."""
    return shortened(text, limit)


def sent_file(attachment: Mapping[str, Any] | None) -> str:
    """The preview of a message without a text."""
    if attachment is None:
        return ""
    return "sent a photo" if FileKind(attachment["type"]).is_picture else "sent a document"
