"""Notifications, and the plan of their delivery."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import Struct, field

from nomadcrew.core.ids import EventId, NotificationId, UserId, derived_id
from nomadcrew.core.notifications.preferences import PASSING, Channel, Kind, Preferences, TripPreferences
from nomadcrew.core.notifications.push import PushTask


class Notification(NamedTuple):
    """A stored notification.

    `metadata` is JSON text, ready for the wire: an object with the keys that the client's cards read. A tuple, as
    `TripMember`: a page creates up to a hundred.
    """

    id: NotificationId
    type: str
    message: str
    metadata: str
    is_read: bool
    created_at: datetime


class Recipient(Struct, frozen=True):
    """A user whom an event may concern, with the preferences that decide the channels."""

    name: str
    is_member: bool = False
    is_invited: bool = False
    has_phone: bool = False
    preferences: Preferences = field(default_factory=Preferences)
    trip: TripPreferences = field(default_factory=TripPreferences)


class Facts(Struct, frozen=True):
    """The facts of a notification's sentence: the trip's name, its members and the users named by the event."""

    trip_name: str
    users: Mapping[UserId, Recipient]

    @property
    def members(self) -> Sequence[UserId]:
        return [user_id for user_id, person in self.users.items() if person.is_member]

    def name(self, user_id: UserId | None) -> str:
        person = None if user_id is None else self.users.get(user_id)
        return "Someone" if person is None else person.name


class Notice(Struct, frozen=True):
    """A notice: the same notification for several users.

    With a `subject`, a user has one notification about it, which a later event renews.
    """

    kind: Kind
    type: str
    metadata: dict[str, Any]
    user_ids: Sequence[UserId]
    mentioned: frozenset[UserId] = frozenset()
    subject: UUID | None = None


class Draft(Struct, frozen=True):
    """A notification to store. Its ids are derived from event and recipient, so that a repeat has the same ids."""

    id: NotificationId
    event_id: EventId
    user_id: UserId
    type: str
    metadata: dict[str, Any]

    @classmethod
    def of(cls, event_id: EventId, user_id: UserId, notice: Notice) -> "Draft":
        return cls(
            NotificationId(derived_id(notice.subject or event_id, f"notification {user_id}")),
            EventId(derived_id(event_id, f"event {user_id}")),
            user_id,
            notice.type,
            notice.metadata,
        )


class Toast(Struct, frozen=True):
    """A notification that is not stored, for the sockets of these users."""

    event_id: EventId
    id: NotificationId
    type: str
    metadata: dict[str, Any]
    user_ids: Sequence[UserId]

    @classmethod
    def of(cls, event_id: EventId, notice: Notice, user_ids: Sequence[UserId]) -> "Toast":
        return cls(
            EventId(derived_id(event_id, f"toast {notice.type}")),
            NotificationId(derived_id(event_id, f"notification {notice.type}")),
            notice.type,
            notice.metadata,
            user_ids,
        )


class DeliveryPlan(Struct, frozen=True):
    """The delivery of one event's notices: notifications to store, toasts and pushes."""

    drafts: list[Draft] = field(default_factory=list)
    toasts: list[Toast] = field(default_factory=list)
    pushes: list[PushTask] = field(default_factory=list)

    def add(self, event_id: EventId, notice: Notice, channels: Mapping[UserId, frozenset[Channel]]) -> None:
        """Plan a notice on each recipient's channels. A user with the list gets the socket message from it."""
        drafts = {user_id: Draft.of(event_id, user_id, notice) for user_id in channels}
        on_list = [user_id for user_id, chosen in channels.items() if Channel.LIST in chosen]
        on_socket = [
            user_id
            for user_id, chosen in channels.items()
            if Channel.SOCKET in chosen and Channel.LIST not in chosen
        ]
        toast = Toast.of(event_id, notice, on_socket)
        pushes = {
            user_id: toast.id if notice.kind in PASSING else drafts[user_id].id
            for user_id, chosen in channels.items()
            if Channel.PUSH in chosen
        }
        self.drafts.extend(drafts[user_id] for user_id in on_list)
        if on_socket:
            self.toasts.append(toast)
        if pushes:
            push_id = EventId(derived_id(event_id, f"push {notice.type}"))
            self.pushes.append(PushTask(push_id, notice.type, notice.metadata, pushes))
