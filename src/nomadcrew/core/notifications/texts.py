"""Texts of notifications: in the list, on sockets and in pushes."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from nomadcrew.core.files.model import FileKind
from nomadcrew.core.graphemes import shortened

APP_NAME = "NomadCrew"
MAX_PREVIEW = 100  # characters

_TITLES = {
    "TRIP_INVITATION": "Trip invitation",
    "TRIP_INVITATION_RECEIVED": "Trip invitation",
    "TRIP_MEMBER_JOINED": "New member",
    "TRIP_MEMBER_LEFT": "Member left",
    "TRIP_UPDATED": "Trip updated",
    "TODO_ASSIGNED": "Task assigned",
    "TODO_COMPLETED": "Task completed",
}

_SENTENCES = {
    "TRIP_INVITATION": "{inviterName} invited you to {tripName}",
    "TRIP_INVITATION_RECEIVED": "{inviterName} invited you to {tripName}",
    "TRIP_INVITATION_ACCEPTED": "{person} accepted your invitation to {tripName}",
    "TRIP_INVITATION_DECLINED": "{person} declined your invitation to {tripName}",
    "MEMBER_ADDED": "{person} joined {tripName}",
    "TRIP_MEMBER_JOINED": "{person} joined {tripName}",
    "TRIP_MEMBER_LEFT": "{person} left {tripName}",
    "MEMBERSHIP_CHANGE": "Your role on {tripName} is now {role}",
    "MEMBERSHIP_CHANGE removed": "You were removed from {tripName}",
    "TRIP_UPDATE": "{updaterName} updated {tripName}",
    "TRIP_UPDATED": "{updaterName} updated {tripName}",
    "TODO_COMPLETED": "{completerName} completed {todoTitle}",
    "TASK_COMPLETED": "{completerName} completed {todoTitle}",
    "CHAT_MESSAGE": "New message from {senderName}",
    "NEW_CHAT_MESSAGE": "New message from {senderName}",
    "LOCATION_SHARED": "{person} shares their location on {tripName}",
    "LOCATION_SHARED arrived": "{person} arrived at {placeName}",
}
_NEUTRAL = {"tripName": "your trip", "role": "changed", "todoTitle": "a task", "placeName": "the destination"}


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
    words = defaultdict(lambda: "Someone", _NEUTRAL)
    words |= {name: str(value) for name, value in metadata.items() if value}
    words["person"] = str(metadata.get("addedUserName") or metadata.get("memberName") or "Someone")
    words["role"] = words["role"].lower()
    change = metadata.get("change")
    sentence = _SENTENCES.get(f"{type_} {change}") or _SENTENCES.get(type_, "You have a new notification")
    return sentence.format_map(words)


def push_title(type_: str, metadata: Mapping[str, Any]) -> str:
    if type_ == "CHAT_MESSAGE":
        return str(metadata.get("senderName") or APP_NAME)
    return _TITLES.get(type_, APP_NAME)


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
