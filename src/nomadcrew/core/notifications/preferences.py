"""Notification preferences, and the rule that decides the channels of a notification."""

from collections.abc import Mapping
from datetime import datetime, time
from enum import StrEnum
from typing import Any

from msgspec import Struct

from nomadcrew.core.errors import Invalid
from nomadcrew.core.timezones import zone_named

# Keys in a user's preferences. The first has the settings that the shipped app knows, and the app replaces it as a
# whole; the second has the others.
SWITCHES = "notifications"
DETAILS = "notificationDetails"


class Channel(StrEnum):
    """A channel of notifications. Mail is not one: only mails that remind of documents can be switched off."""

    LIST = "list"  # stored, and counted while unread
    SOCKET = "socket"
    PUSH = "push"


class Kind(StrEnum):
    """The kind of a notification, which preferences refer to."""

    INVITATION = "invitation"  # to another trip
    OWN = "own"  # the user's own membership, or an answer to the user's own invitation
    TRIP = "trip"  # a trip's changes, and members who join or leave
    TODO = "todo"
    POLL = "poll"
    CHAT = "chat"
    LOCATION = "location"  # a member starts sharing
    ARRIVAL = "arrival"
    DOCUMENT = "document"  # a document of the user's own ends


# Never stored: worthless later, or too revealing.
PASSING = frozenset({Kind.CHAT, Kind.ARRIVAL})


class ChatLevel(StrEnum):
    ALL = "all"
    MENTIONS = "mentions"
    NONE = "none"


class QuietHours(Struct, frozen=True):
    """The hours without pushes, in a time zone. An end before the start means the next day."""

    start: time
    end: time
    time_zone: str

    @classmethod
    def parse(cls, start: str, end: str, time_zone: str) -> "QuietHours":
        """Quiet hours from `HH:MM` to `HH:MM`.

        Raises:
            Invalid: a time is malformed, both are the same, or the time zone is unknown.
        """
        try:
            zone_named(time_zone)
        except (KeyError, OSError, ValueError):
            raise Invalid(
                "`timeZone` must be an IANA time zone, such as Europe/Lisbon.", code="invalid_time_zone"
            ) from None
        hours = cls(_clock(start), _clock(end), time_zone)
        if hours.start == hours.end:
            raise Invalid("Quiet hours must start and end at different times.", code="invalid_quiet_hours")
        return hours

    def hold(self, now: datetime) -> bool:
        """True if the quiet hours include that time. The end is exclusive."""
        local = now.astimezone(zone_named(self.time_zone)).time()
        if self.start < self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end


class Preferences(Struct, frozen=True):
    """A user's preferences for all trips. `email` switches mails that remind of documents."""

    push: bool = True
    email: bool = True
    in_app: bool = True
    chat: ChatLevel = ChatLevel.ALL
    trip_updates: bool = True
    todos: bool = True
    polls: bool = True
    location_sharing: bool = True
    arrivals: bool = True
    documents: bool = True
    quiet_hours: QuietHours | None = None

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Preferences":
        """Read the preferences that clients stored. Malformed values count as unset."""
        switches, details = _object(stored.get(SWITCHES)), _object(stored.get(DETAILS))
        level = ChatLevel.MENTIONS if details.get("chat") == ChatLevel.MENTIONS else ChatLevel.ALL
        return cls(
            push=_on(switches, "push"),
            email=_on(switches, "email"),
            in_app=_on(details, "inApp"),
            chat=level if _on(switches, "chatMessages") else ChatLevel.NONE,
            trip_updates=_on(switches, "tripUpdates"),
            todos=_on(details, "todos"),
            polls=_on(details, "polls"),
            location_sharing=_on(details, "locationSharing"),
            arrivals=_on(details, "arrivals"),
            documents=_on(details, "documents"),
            quiet_hours=_quiet_hours(details.get("quietHours")),
        )


class TripPreferences(Struct, frozen=True):
    """A member's preferences for one trip. `chat` None means the level of the user's preferences."""

    muted_until: datetime | None = None
    chat: ChatLevel | None = None


def channels(
    kind: Kind, preferences: Preferences, trip: TripPreferences, now: datetime, *, mentioned: bool = False
) -> frozenset[Channel]:
    """The channels of a notification now; empty if the user does not want it.

    A muted trip is muted on every channel, mentions included. A mention passes the level `mentions`. Quiet hours
    suppress pushes only. Invitations ignore the in-app switch, since the app has no other way to accept them.
    """
    if not _is_wanted(kind, preferences, trip, now, mentioned=mentioned):
        return frozenset()
    result = set()
    if preferences.in_app or kind is Kind.INVITATION:
        result.add(Channel.SOCKET)
        if kind not in PASSING:
            result.add(Channel.LIST)
    if preferences.push and not (preferences.quiet_hours is not None and preferences.quiet_hours.hold(now)):
        result.add(Channel.PUSH)
    return frozenset(result)


def _is_wanted(
    kind: Kind, preferences: Preferences, trip: TripPreferences, now: datetime, *, mentioned: bool
) -> bool:
    if kind is Kind.INVITATION:
        return True
    if kind is Kind.DOCUMENT:  # of the user, whatever trip is muted
        return preferences.documents
    if trip.muted_until is not None and now < trip.muted_until:
        return False
    match kind:
        case Kind.TRIP:
            return preferences.trip_updates
        case Kind.TODO:
            return preferences.todos
        case Kind.POLL:
            return preferences.polls
        case Kind.LOCATION:
            return preferences.location_sharing
        case Kind.ARRIVAL:
            return preferences.arrivals
        case Kind.CHAT:
            level = trip.chat or preferences.chat
            return level is ChatLevel.ALL or (level is ChatLevel.MENTIONS and mentioned)
        case _:
            return True


def _clock(text: str) -> time:
    if len(text) == 5 and text[2] == ":" and text.isascii() and (text[:2] + text[3:]).isdigit():
        hour, minute = int(text[:2]), int(text[3:])
        if hour < 24 and minute < 60:
            return time(hour, minute)
    raise Invalid("Quiet hours must have the form 22:00.", code="invalid_quiet_hours")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _on(switches: Mapping[str, Any], name: str) -> bool:
    """True if a switch is on, the default."""
    return switches.get(name) is not False


def _quiet_hours(value: Any) -> QuietHours | None:
    stored = _object(value)
    texts = [stored.get(name) for name in ("start", "end", "timeZone")]
    try:
        return QuietHours.parse(*(str(text) for text in texts)) if None not in texts else None
    except Invalid:
        return None
