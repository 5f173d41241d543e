"""Notifications, and the plan of their delivery."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nomadcrew.core.ids import EventId, NotificationId, UserId, derived_id
from nomadcrew.core.notifications.preferences import Kind, Preferences, TripPreferences
from nomadcrew.core.notifications.push import PushTask
from nomadcrew.core.notifications.texts import message


@dataclass(frozen=True, slots=True)
class Notification:
    """A stored notification. `metadata` has the keys that the client's cards read."""

    id: NotificationId
    type: str
    metadata: dict[str, Any]
    is_read: bool
    created_at: datetime

    @property
    def message(self) -> str:
        return message(self.type, self.metadata)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A user whom an event may concern, with the preferences that decide the channels."""

    name: str
    is_member: bool = False
    is_invited: bool = False
    has_phone: bool = False
    preferences: Preferences = field(default_factory=Preferences)
    trip: TripPreferences = field(default_factory=TripPreferences)


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a notification's sentence: the trip's name, its members and the users named by the event."""

    trip_name: str
    people: Mapping[UserId, Recipient]

    @property
    def members(self) -> Sequence[UserId]:
        return [user_id for user_id, person in self.people.items() if person.is_member]

    def name(self, user_id: UserId | None) -> str:
        person = None if user_id is None else self.people.get(user_id)
        return "Someone" if person is None else person.name


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice: the same notification for several users."""

    kind: Kind
    type: str
    metadata: dict[str, Any]
    people: Sequence[UserId]
    mentioned: frozenset[UserId] = frozenset()


@dataclass(frozen=True, slots=True)
class Draft:
    """A notification to store. Its ids are derived from event and recipient, so that a repeat has the same ids."""

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


@dataclass(frozen=True, slots=True)
class Toast:
    """A notification that is not stored, for the sockets of these users."""

    event_id: EventId
    id: NotificationId
    type: str
    metadata: dict[str, Any]
    people: Sequence[UserId]

    @classmethod
    def of(cls, cause: EventId, news: Notice, people: Sequence[UserId]) -> "Toast":
        return cls(
            EventId(derived_id(cause, f"toast {news.type}")),
            NotificationId(derived_id(cause, f"notification {news.type}")),
            news.type,
            news.metadata,
            people,
        )


@dataclass(frozen=True, slots=True)
class DeliveryPlan:
    """The delivery plan of an event: notifications to store, toasts and pushes."""

    drafts: list[Draft] = field(default_factory=list)
    toasts: list[Toast] = field(default_factory=list)
    pushes: list[PushTask] = field(default_factory=list)
