"""What happened, as others are told: the outbox's events, their audience and who consumes them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from nomadcrew.core.ids import EventId, JobId, TripId, UserId, derived_id


class Audience(StrEnum):
    """Who receives an event live and in `GET /v1/events`."""

    TRIP = "trip"  # ACTIVE members at delivery, and `recipient_id` beside them
    USER = "user"  # `recipient_id` alone
    INTERNAL = "internal"  # consumers only


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the outbox, or what is told live and is in no record, which is then not `kept`.

    `payload` is JSON text, ready for the wire.
    """

    id: EventId
    type: str
    source: str
    trip_id: TripId | None
    actor_id: UserId | None
    recipient_id: UserId | None
    audience: str
    occurred_at: datetime
    payload: str
    kept: bool = True


@dataclass(frozen=True, slots=True)
class EventPage:
    events: Sequence[Event]
    has_more: bool


# What older clients show where a chat message was deleted; newer ones look at `deleted_at`.
TOMBSTONE = "Message deleted"

# Which work queues get a copy of an event, by type. Each consumer is idempotent on the event's id.
NOTIFICATIONS = "notifications"
EMAIL = "email"
PUSH = "push"  # what phones are to show, as the notifier has decided
MIRROR = "mirror"  # where a copy is kept elsewhere
REALTIME = "realtime"  # where sockets are a gateway's; elsewhere the publisher delivers
LOCATION = "location"  # where positions are carried by a queue
CONSUMERS: dict[str, tuple[str, ...]] = {
    "TRIP_UPDATED": (NOTIFICATIONS,),
    "TRIP_STATUS_UPDATED": (NOTIFICATIONS,),
    "MEMBER_ADDED": (NOTIFICATIONS,),
    "MEMBER_REMOVED": (NOTIFICATIONS,),
    "MEMBER_ROLE_UPDATED": (NOTIFICATIONS,),
    "TRIP_INVITATION_CREATED": (NOTIFICATIONS, EMAIL),
    "invitation.renewed": (NOTIFICATIONS, EMAIL),
    "invitation.declined": (NOTIFICATIONS,),
    "TODO_UPDATED": (NOTIFICATIONS,),
    "CHAT_MESSAGE_SENT": (NOTIFICATIONS,),
    "LOCATION_SHARING_CHANGED": (NOTIFICATIONS,),
    "MEMBER_ARRIVED": (NOTIFICATIONS,),
    "account.confirmation_requested": (EMAIL,),
}


# What the mirror gets beside them, where there is one; positions come by way of what is told live.
MIRRORED = frozenset(
    {
        "TRIP_CREATED",
        "TRIP_UPDATED",
        "TRIP_STATUS_UPDATED",
        "TRIP_DELETED",
        "MEMBER_ADDED",
        "MEMBER_REMOVED",
        "MEMBER_ROLE_UPDATED",
        "profile.changed",
        "LOCATION_SHARING_CHANGED",
        "location_privacy.changed",
    }
)


def consumers_of(type_: str, *, mirrors: bool) -> tuple[str, ...]:
    """The queues that get a copy of an event; `mirrors` where there is a mirror."""
    queues = CONSUMERS.get(type_, ())
    return (*queues, MIRROR) if mirrors and type_ in MIRRORED else queues


def job_id(event_id: EventId, queue: str) -> JobId:
    """The id of an event's job in a queue: the same however often the event is published."""
    return JobId(derived_id(event_id, queue))


def listeners(event: Event, members: Mapping[TripId, Iterable[UserId]]) -> tuple[set[UserId], TripId | None]:
    """Who hears of an event live, and the trip that silences it where it is muted.

    A muted trip silences what is told to the trip, not what is addressed to a person.
    """
    people: set[UserId] = set()
    for_trip = event.audience == Audience.TRIP
    if for_trip and event.trip_id is not None:
        people.update(members.get(event.trip_id, ()))
    if event.audience != Audience.INTERNAL and event.recipient_id is not None:
        people.add(event.recipient_id)
    return people, event.trip_id if for_trip else None


# The refusal of an `after` that is not the id of a stored event.
NO_CURSOR = "`after` must be the id of a stored event; events with `kept: false` are not stored."


class Outbox(Protocol):
    """The write side's bell. Events themselves are inserted in the transaction of the write they report."""

    def expect(self) -> None:
        """Say that a write begins, so that its events are published even if nobody lives to say it was made."""
        ...

    async def written(self, *, told: bool = True) -> None:
        """Say that something was committed, and have its events published at once; `told` False where it has none.

        Never fails for an outage: what cannot be published now is published later.
        """
        ...

    async def sweep(self) -> int:
        """Publish what nobody else has; returns how many events.

        Raises:
            Unavailable: something stays behind; call again later.
        """
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

    async def record(self, events: Sequence[Event]) -> None:
        """Give events a place in the record that were not written by way of the outbox; each once.

        What a deleted message said is taken out of the record.
        """
        ...

    async def recipients(self, trip_ids: Iterable[TripId]) -> Mapping[TripId, Sequence[UserId]]:
        """Who is ACTIVE on each trip now."""
        ...


class AuditLog(Protocol):
    """Every event, for years."""

    async def keep(self, events: Sequence[Event]) -> None:
        """Keep these events; the same ones again are the same record.

        Raises:
            Unavailable: not now; try again later.
        """
        ...
