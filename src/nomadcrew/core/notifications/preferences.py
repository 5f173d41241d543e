"""How people want to be told, and the one place that decides it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, tzinfo
from enum import StrEnum
from typing import Any

from nomadcrew.core.errors import Invalid

# Where they are in a person's preferences: what the shipped app knows of under the first, the rest under the
# second, for the app replaces the first as a whole.
SWITCHES = "notifications"
DETAILS = "notificationDetails"


class Channel(StrEnum):
    """A way to tell somebody something. Mails have none: those there are cannot be switched off."""

    LIST = "list"  # kept, and counted while unread
    SOCKET = "socket"
    PUSH = "push"


class Kind(StrEnum):
    """What a notification is about, as far as preferences go."""

    INVITATION = "invitation"  # to a trip one is not on
    OWN = "own"  # one's own place on a trip, or the answer to one's own invitation
    TRIP = "trip"  # changes of a trip, and who comes and goes
    TODO = "todo"
    CHAT = "chat"
    LOCATION = "location"  # somebody begins to share theirs
    ARRIVAL = "arrival"


# Worth nothing later, or too telling to be kept.
PASSING = frozenset({Kind.CHAT, Kind.ARRIVAL})


class ChatLevel(StrEnum):
    ALL = "all"
    MENTIONS = "mentions"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class QuietHours:
    """When phones stay silent, by the clock of a time zone; over midnight where it ends before it starts."""

    start: time
    end: time
    time_zone: str

    @classmethod
    def parse(cls, start: str, end: str, time_zone: str) -> "QuietHours":
        """Quiet hours from `HH:MM` to `HH:MM`.

        Raises:
            Invalid: a time has another form, they are the same, or nobody knows that time zone.
        """
        try:
            _zone(time_zone)
        except (KeyError, OSError, ValueError):
            raise Invalid(
                "`timeZone` must be an IANA time zone, such as Europe/Lisbon.", code="invalid_time_zone"
            ) from None
        hours = cls(_clock(start), _clock(end), time_zone)
        if hours.start == hours.end:
            raise Invalid("Quiet hours must start and end at different times.", code="invalid_quiet_hours")
        return hours

    def hold(self, now: datetime) -> bool:
        """Whether it is quiet at that moment; the end is no longer."""
        local = now.astimezone(_zone(self.time_zone)).time()
        if self.start < self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end


@dataclass(frozen=True, slots=True)
class Preferences:
    """What one person wants, on every trip. `email` has nothing to switch yet."""

    push: bool = True
    email: bool = True
    in_app: bool = True
    chat: ChatLevel = ChatLevel.ALL
    trip_updates: bool = True
    todos: bool = True
    location_sharing: bool = True
    arrivals: bool = True
    quiet_hours: QuietHours | None = None

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Preferences":
        """The preferences in what clients stored; what cannot be understood counts as unset."""
        switches, details = _object(kept.get(SWITCHES)), _object(kept.get(DETAILS))
        level = ChatLevel.MENTIONS if details.get("chat") == ChatLevel.MENTIONS else ChatLevel.ALL
        return cls(
            push=_on(switches, "push"),
            email=_on(switches, "email"),
            in_app=_on(details, "inApp"),
            chat=level if _on(switches, "chatMessages") else ChatLevel.NONE,
            trip_updates=_on(switches, "tripUpdates"),
            todos=_on(details, "todos"),
            location_sharing=_on(details, "locationSharing"),
            arrivals=_on(details, "arrivals"),
            quiet_hours=_quiet_hours(details.get("quietHours")),
        )


@dataclass(frozen=True, slots=True)
class TripPreferences:
    """What one member wants of one trip; `chat` None leaves it to their preferences on every trip."""

    muted_until: datetime | None = None
    chat: ChatLevel | None = None


def channels(
    kind: Kind, preferences: Preferences, trip: TripPreferences, now: datetime, *, mentioned: bool = False
) -> frozenset[Channel]:
    """The ways by which somebody is told something now; none where they do not want to know.

    Muted is muted on every channel, and nothing gets through to a muted trip; a mention gets through where only
    mentions are wanted. Quiet hours keep phones silent, and nothing else. Invitations are told whatever is switched
    off in the app, for there is no other way to accept them.
    """
    if not _wanted(kind, preferences, trip, now, mentioned=mentioned):
        return frozenset()
    found = set()
    if preferences.in_app or kind is Kind.INVITATION:
        found.add(Channel.SOCKET)
        if kind not in PASSING:
            found.add(Channel.LIST)
    if preferences.push and not (preferences.quiet_hours is not None and preferences.quiet_hours.hold(now)):
        found.add(Channel.PUSH)
    return frozenset(found)


def _wanted(kind: Kind, preferences: Preferences, trip: TripPreferences, now: datetime, *, mentioned: bool) -> bool:
    if kind is Kind.INVITATION:
        return True
    if trip.muted_until is not None and now < trip.muted_until:
        return False
    match kind:
        case Kind.TRIP:
            return preferences.trip_updates
        case Kind.TODO:
            return preferences.todos
        case Kind.LOCATION:
            return preferences.location_sharing
        case Kind.ARRIVAL:
            return preferences.arrivals
        case Kind.CHAT:
            level = trip.chat or preferences.chat
            return level is ChatLevel.ALL or (level is ChatLevel.MENTIONS and mentioned)
        case _:
            return True


def _zone(name: str) -> tzinfo:
    """The time zone of that name; imported here, since few have quiet hours and it would cost every start.

    Raises:
        KeyError, OSError, ValueError: there is none.
    """
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def _clock(text: str) -> time:
    if len(text) == 5 and text[2] == ":" and text.isascii() and (text[:2] + text[3:]).isdigit():
        hour, minute = int(text[:2]), int(text[3:])
        if hour < 24 and minute < 60:
            return time(hour, minute)
    raise Invalid("Quiet hours must have the form 22:00.", code="invalid_quiet_hours")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _on(switches: Mapping[str, Any], name: str) -> bool:
    """A switch is on unless it was switched off."""
    return switches.get(name) is not False


def _quiet_hours(value: Any) -> QuietHours | None:
    kept = _object(value)
    texts = [kept.get(name) for name in ("start", "end", "timeZone")]
    try:
        return QuietHours.parse(*(str(text) for text in texts)) if None not in texts else None
    except Invalid:
        return None
