"""Events: the outbox, the audience of an event, and the queues that consume it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.ids import EventId, JobId, TripId, UserId, derived_id


class Audience(StrEnum):
    """The users who receive an event on sockets and from `GET /v1/events`."""

    TRIP = "trip"  # the ACTIVE members at delivery, and `recipient_id`
    USER = "user"  # `recipient_id` only
    INTERNAL = "internal"  # queue consumers only


class Event(Struct, frozen=True):
    """A row of the outbox, or a broadcast, which is never stored and has `kept` False.

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


class EventPage(Struct, frozen=True):
    events: Sequence[Event]
    has_more: bool


# The text that older clients show for a deleted chat message; newer clients read `deleted_at`.
TOMBSTONE = "Message deleted"

# The work queues that get a copy of an event, by its type. Each consumer is idempotent on the event's id.
NOTIFICATIONS = "notifications"
EMAIL = "email"
PUSH = "push"  # pushes for phones, planned by the notifier
EXPORTS = "exports"  # archives of trips that are too large for a reply
MIRROR = "mirror"  # only on sites with a mirror
REALTIME = "realtime"  # only on AWS, where a gateway holds the sockets; on the machine the relay sends to them
LOCATION = "location"  # only on sites whose positions go through a queue
BACKGROUNDS = "backgrounds"  # new trips, only on sites that search for their pictures
WEBHOOKS = "webhooks"  # events for the webhooks of their trips, and attempts to deliver them
PICTURES = "pictures"  # uploaded pictures, whose renditions are made
DOCUMENT_ENDS = "document.ends"
INVITATION_REMINDER = "invitation.reminder"
TRIP_EXPORTED = "trip.exported"
WEBHOOK_DISABLED = "webhook.disabled"
WEBHOOK_REDELIVERY = "webhook.redelivery_requested"
DELETION_REQUESTED = "account.deletion_requested"
DELETION_CANCELLED = "account.deletion_cancelled"
ACCOUNT_ERASED = "account.erased"  # queued only: it has the address of the receipt
CONSUMERS: dict[str, tuple[str, ...]] = {
    "TRIP_UPDATED": (NOTIFICATIONS,),
    "TRIP_STATUS_UPDATED": (NOTIFICATIONS,),
    "MEMBER_ADDED": (NOTIFICATIONS,),
    "MEMBER_REMOVED": (NOTIFICATIONS,),
    "MEMBER_ROLE_UPDATED": (NOTIFICATIONS,),
    "TRIP_INVITATION_CREATED": (NOTIFICATIONS, EMAIL),
    "invitation.renewed": (NOTIFICATIONS, EMAIL),
    INVITATION_REMINDER: (NOTIFICATIONS, EMAIL),
    "invitation.declined": (NOTIFICATIONS,),
    "TODO_UPDATED": (NOTIFICATIONS,),
    "todo.assigned": (NOTIFICATIONS,),
    "todo.due": (NOTIFICATIONS,),
    "POLL_CREATED": (NOTIFICATIONS,),
    "POLL_CLOSED": (NOTIFICATIONS,),
    "poll.reminder": (NOTIFICATIONS,),
    "CHAT_MESSAGE_SENT": (NOTIFICATIONS,),
    "LOCATION_SHARING_CHANGED": (NOTIFICATIONS,),
    "MEMBER_ARRIVED": (NOTIFICATIONS,),
    DOCUMENT_ENDS: (NOTIFICATIONS, EMAIL),
    "TRIP_IMAGE_ADDED": (PICTURES,),
    "avatar.uploaded": (PICTURES,),
    "picture.imported": (PICTURES,),
    TRIP_EXPORTED: (NOTIFICATIONS,),
    WEBHOOK_DISABLED: (NOTIFICATIONS,),
    WEBHOOK_REDELIVERY: (WEBHOOKS,),
    "account.confirmation_requested": (EMAIL,),
    "account.password_reset_requested": (EMAIL,),
    "account.email_change_requested": (EMAIL,),
    "account.changed": (EMAIL,),
    DELETION_REQUESTED: (EMAIL,),
    DELETION_CANCELLED: (EMAIL,),
    "contact_email.confirmation_requested": (EMAIL,),
}


# Further events for the mirror, on sites with one. Positions reach it as broadcasts.
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


# Further events for the search of background pictures, on sites with one.
ILLUSTRATED = frozenset({"TRIP_CREATED"})


class HookedEvent(StrEnum):
    """The types of events for which a trip can have webhooks: those that every member sees, without positions.

    `MEMBER_ARRIVED` and `LOCATION_SHARING_CHANGED` would tell a server where a member is, or when.
    """

    TRIP_UPDATED = "TRIP_UPDATED"
    TRIP_STATUS_UPDATED = "TRIP_STATUS_UPDATED"
    TRIP_DELETED = "TRIP_DELETED"
    MEMBER_ADDED = "MEMBER_ADDED"
    MEMBER_REMOVED = "MEMBER_REMOVED"
    MEMBER_ROLE_UPDATED = "MEMBER_ROLE_UPDATED"
    TODO_CREATED = "TODO_CREATED"
    TODO_UPDATED = "TODO_UPDATED"
    TODO_DELETED = "TODO_DELETED"
    POLL_CREATED = "POLL_CREATED"
    POLL_UPDATED = "POLL_UPDATED"
    POLL_CLOSED = "POLL_CLOSED"
    POLL_DELETED = "POLL_DELETED"
    POLL_VOTE_CAST = "POLL_VOTE_CAST"
    POLL_VOTE_REMOVED = "POLL_VOTE_REMOVED"
    CHAT_MESSAGE_SENT = "CHAT_MESSAGE_SENT"
    CHAT_MESSAGE_EDITED = "CHAT_MESSAGE_EDITED"
    CHAT_MESSAGE_DELETED = "CHAT_MESSAGE_DELETED"
    CHAT_REACTION_ADDED = "CHAT_REACTION_ADDED"
    CHAT_REACTION_REMOVED = "CHAT_REACTION_REMOVED"
    DOCUMENT_ADDED = "DOCUMENT_ADDED"
    DOCUMENT_REMOVED = "DOCUMENT_REMOVED"
    TRIP_IMAGE_ADDED = "TRIP_IMAGE_ADDED"
    TRIP_IMAGE_UPDATED = "TRIP_IMAGE_UPDATED"
    TRIP_IMAGE_DELETED = "TRIP_IMAGE_DELETED"
    MEETING_POINT_CHANGED = "MEETING_POINT_CHANGED"


HOOKED = frozenset(map(str, HookedEvent))


# Events whose notifications are never stored: they reach sockets and phones only.
PASSING = frozenset({"CHAT_MESSAGE_SENT", "MEMBER_ARRIVED"})


def consumers_of(type_: str, *, mirrors: bool, illustrates: bool = False) -> tuple[str, ...]:
    """The queues that get a copy of an event; for webhooks only if its trip has one that wants it.

    `mirrors` is True on a site with a mirror, `illustrates` on one that searches for background pictures.
    """
    queues = CONSUMERS.get(type_, ())
    if mirrors and type_ in MIRRORED:
        queues = (*queues, MIRROR)
    if type_ in HOOKED:
        queues = (*queues, WEBHOOKS)
    return (*queues, BACKGROUNDS) if illustrates and type_ in ILLUSTRATED else queues


def job_id(event_id: EventId, queue: str) -> JobId:
    """The id of an event's job in a queue, the same whenever the event is published again."""
    return JobId(derived_id(event_id, queue))


def listeners(event: Event, members: Mapping[TripId, Iterable[UserId]]) -> tuple[set[UserId], TripId | None]:
    """The users whose sockets get an event, and the trip whose muting silences it.

    Muting a trip silences events to the trip, not those addressed to the user.
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
    """Wakes the relay around a write. The events themselves are inserted in the transaction of the write."""

    def before_write(self) -> None:
        """Call before a write: its events are then published even if this process dies after the commit."""
        ...

    async def after_commit(self, *, has_events: bool = True) -> None:
        """Call after a commit: publishes its events at once. `has_events` is False if the write has none.

        Never fails for an outage: the events are then published later.
        """
        ...

    async def sweep(self) -> int:
        """Publish leftover events. Returns their number.

        Raises:
            Unavailable: some events are left; call again later.
        """
        ...


class EventLog(Protocol):
    """Stored events, for clients that reconnect. Retained for seven days."""

    async def after(self, user_id: UserId, cursor: UUID | None, *, now: datetime, limit: int) -> EventPage:
        """Events of the user's trips and to the user, oldest first, published after event `cursor`.

        Contains only events that the user may see now, and none from before they joined the trip.

        Raises:
            NotOnboarded: the user has no profile.
            Gone: the event of `cursor` was deleted after seven days; the client must fetch everything again.
            Invalid: `cursor` is not the id of a stored event.
        """
        ...

    async def record(self, events: Sequence[Event]) -> None:
        """Store events that were not written through the outbox. Each is stored once.

        A deleted message's text is removed from its stored events.
        """
        ...

    async def recipients(self, trip_ids: Iterable[TripId]) -> Mapping[TripId, Sequence[UserId]]:
        """The ACTIVE members of each trip."""
        ...


class AuditLog(Protocol):
    """The audit log: every event, for a month: it names users, also those who were erased meanwhile."""

    async def save(self, events: Sequence[Event]) -> None:
        """Store events. Safe to repeat.

        Raises:
            Unavailable: retry later.
        """
        ...
