"""What happened, as others are told: the outbox's events, their audience and who consumes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from nomadcrew.core.ids import EventId, TripId, UserId


class Audience(StrEnum):
    """Who receives an event live and in `GET /v1/events`."""

    TRIP = "trip"  # ACTIVE members at delivery, and `recipient_id` beside them
    USER = "user"  # `recipient_id` alone
    INTERNAL = "internal"  # consumers only


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the outbox. `payload` is JSON text, ready for the wire."""

    id: EventId
    type: str
    source: str
    trip_id: TripId | None
    actor_id: UserId | None
    recipient_id: UserId | None
    audience: str
    occurred_at: datetime
    payload: str


@dataclass(frozen=True, slots=True)
class EventPage:
    events: Sequence[Event]
    has_more: bool


# Which work queues get a copy of an event, by type. Each consumer is idempotent on the event's id.
NOTIFICATIONS = "notifications"
EMAIL = "email"
CONSUMERS: dict[str, tuple[str, ...]] = {
    "TRIP_UPDATED": (NOTIFICATIONS,),
    "TRIP_STATUS_UPDATED": (NOTIFICATIONS,),
    "MEMBER_ADDED": (NOTIFICATIONS,),
    "MEMBER_REMOVED": (NOTIFICATIONS,),
    "MEMBER_ROLE_UPDATED": (NOTIFICATIONS,),
    "TRIP_INVITATION_CREATED": (NOTIFICATIONS, EMAIL),
    "invitation.renewed": (NOTIFICATIONS, EMAIL),
    "invitation.declined": (NOTIFICATIONS,),
    "account.confirmation_requested": (EMAIL,),
}


class Outbox(Protocol):
    """The write side's bell. Events themselves are inserted in the transaction of the write they report."""

    def wake(self) -> None:
        """Say that something was committed, so that it is published at once instead of at the next sweep."""
        ...


class EventLog(Protocol):
    """What was published, for clients that were away. Kept seven days."""

    async def after(self, user_id: UserId, cursor: UUID | None, *, now: datetime, limit: int) -> EventPage:
        """Events of the caller's trips and to the caller, oldest first, published after event `cursor`.

        Only what the caller may see now, and nothing from before they joined a trip.

        Raises:
            NotOnboarded: no profile.
            Gone: the cursor has left the record; refetch and start from the newest.
            Invalid: the cursor is no event's id.
        """
        ...
