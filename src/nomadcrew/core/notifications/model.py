"""A notification, and the sentence it reads as."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nomadcrew.core.ids import EventId, NotificationId, UserId, derived_id


@dataclass(frozen=True, slots=True)
class Notification:
    """`metadata` holds what the client's cards read, spelled as they read it."""

    id: NotificationId
    type: str
    metadata: dict[str, Any]
    is_read: bool
    created_at: datetime

    @property
    def message(self) -> str:
        return message(self.type, self.metadata)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a notification's sentence needs: the trip's name, who is on it, what people are called."""

    trip_name: str
    member_ids: Sequence[UserId]
    names: Mapping[UserId, str]


@dataclass(frozen=True, slots=True)
class Draft:
    """A notification to be. Its ids follow from event and recipient, so that a repeat is the same notification."""

    id: NotificationId
    event_id: EventId
    user_id: UserId
    type: str
    metadata: dict[str, Any]

    @classmethod
    def of(cls, cause: EventId, user_id: UserId, type_: str, metadata: dict[str, Any]) -> "Draft":
        return cls(
            NotificationId(derived_id(cause, f"notification {user_id}")),
            EventId(derived_id(cause, f"event {user_id}")),
            user_id,
            type_,
            metadata,
        )


def message(type_: str, metadata: dict[str, Any]) -> str:
    """The sentence for a type; missing names fall back to neutral words."""
    trip = metadata.get("tripName") or "your trip"
    someone = metadata.get("addedUserName") or metadata.get("memberName") or "Someone"
    match type_:
        case "TRIP_INVITATION" | "TRIP_INVITATION_RECEIVED":
            return f"{metadata.get('inviterName') or 'Someone'} invited you to {trip}"
        case "TRIP_INVITATION_ACCEPTED":
            return f"{someone} accepted your invitation to {trip}"
        case "TRIP_INVITATION_DECLINED":
            return f"{someone} declined your invitation to {trip}"
        case "MEMBER_ADDED" | "TRIP_MEMBER_JOINED":
            return f"{someone} joined {trip}"
        case "TRIP_MEMBER_LEFT":
            return f"{someone} left {trip}"
        case "MEMBERSHIP_CHANGE" if metadata.get("change") == "removed":
            return f"You were removed from {trip}"
        case "MEMBERSHIP_CHANGE":
            return f"Your role on {trip} is now {str(metadata.get('role') or 'changed').lower()}"
        case "TRIP_UPDATE" | "TRIP_UPDATED":
            return f"{metadata.get('updaterName') or 'Someone'} updated {trip}"
        case _:
            return "You have a new notification"
