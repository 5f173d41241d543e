"""Positions as they are reported, stored and shown."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from nomadcrew.core.errors import Invalid, NotFound
from nomadcrew.core.events import Event
from nomadcrew.core.ids import EventId, TripId, UserId
from nomadcrew.core.names import display_name

# A phone's clock may be ahead by so much before its time is not believed.
MAX_AHEAD = timedelta(minutes=2)
# How old a fix may be with which somebody turns sharing on again.
MAX_FIX_AGE = timedelta(minutes=2)
HISTORY_KEPT_FOR = timedelta(days=30)
# A last position says nothing about now any more; the shipped app draws the line there too.
STALE_AFTER = timedelta(hours=24)
MAX_SHARING_S = 86_400
# Faster than any airliner; what looks faster is a wrong fix.
MAX_SPEED_MPS = 350.0
# Fixes that come closer together than this say nothing about speed.
MIN_INTERVAL_S = 1.0
MAX_BATCH = 500
DEFAULT_RADIUS_M = 150.0
# How many points of a track are read at most, evenly thinned: what one reply of the Data API can carry.
MAX_READ = 1_500
MAX_POINTS = 1_000
POSITION_TOLD = "LOCATION_UPDATED"
SHARING_CHANGED = "LOCATION_SHARING_CHANGED"
PRIVACY_CHANGED = "location_privacy.changed"


class Privacy(StrEnum):
    """How exactly the crew sees a position."""

    HIDDEN = "hidden"
    APPROXIMATE = "approximate"
    PRECISE = "precise"


class Ruling(StrEnum):
    """What became of a reported point."""

    ACCEPTED = "accepted"
    JUMP = "jump"  # kept, but nobody travels that fast: it does not become anybody's last position
    IN_FUTURE = "in_future"
    TOO_OLD = "too_old"
    OUT_OF_RANGE = "out_of_range"


@dataclass(frozen=True, slots=True)
class Point:
    """A fix, WGS-84 decimal degrees, with the privacy its report asks for; `recorded_at` is when it was taken."""

    latitude: float
    longitude: float
    recorded_at: datetime
    privacy: Privacy
    accuracy_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point as kept. `privacy` is what it was given under: the strictest of everything that applied then."""

    latitude: float
    longitude: float
    recorded_at: datetime
    received_at: datetime
    privacy: Privacy
    accuracy_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None
    is_jump: bool = False


@dataclass(frozen=True, slots=True)
class Sharing:
    """What somebody shares on a trip. Without a `privacy` the trip has no opinion of its own."""

    is_enabled: bool
    privacy: Privacy | None = None
    expires_at: datetime | None = None

    def is_on(self, now: datetime) -> bool:
        return self.is_enabled and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whoever a position is of, as far as it decides who sees it; without `joined_at` they are not on the trip."""

    user_id: UserId
    joined_at: datetime | None
    preference: Privacy | None
    is_ghost: bool
    sharing: Sharing | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Whoever looks; `joined_at` is None for who is not, or no longer, on the trip."""

    user_id: UserId
    joined_at: datetime | None


@dataclass(frozen=True, slots=True)
class Member:
    """A member with their last position, as stored."""

    owner: Owner
    first_name: str
    last_name: str
    username: str
    last: StoredPoint | None

    @property
    def name(self) -> str:
        return display_name(self.first_name, self.last_name, self.username)


@dataclass(frozen=True, slots=True)
class MeetingPoint:
    latitude: float
    longitude: float
    name: str
    radius_m: float
    set_by: UserId | None
    set_at: datetime


@dataclass(frozen=True, slots=True)
class Crew:
    """A trip's members with their last positions, as stored: nothing of it is shown before privacy was asked."""

    reader: Reader
    has_ended: bool
    members: Sequence[Member]


@dataclass(frozen=True, slots=True)
class Track:
    """A member's points as stored, oldest first."""

    reader: Reader
    has_ended: bool
    owner: Owner
    points: Sequence[StoredPoint]


@dataclass(frozen=True, slots=True)
class Report:
    """What a phone sends about one trip.

    `is_enabled` is what it says about sharing, None if nothing; what is shared for a time has `expires_at`. Of
    `jumps`, the places of points that are too fast after the one before them in the same report.
    """

    trip_id: TripId
    user_id: UserId
    points: Sequence[Point]
    jumps: frozenset[int]
    is_enabled: bool | None
    expires_at: datetime | None
    event_id: EventId
    now: datetime

    def as_stored(self, place: int, privacy: Privacy, *, is_jump: bool = False) -> StoredPoint:
        """The point at a place as it is kept."""
        point = self.points[place]
        return StoredPoint(
            point.latitude,
            point.longitude,
            point.recorded_at,
            self.now,
            privacy,
            point.accuracy_m,
            point.speed_mps,
            point.heading_deg,
            is_jump,
        )


@dataclass(frozen=True, slots=True)
class Places:
    """Where arriving is noticed, and where somebody is already as far as it was told."""

    destination: tuple[float, float]
    meeting_point: tuple[float, float, float] | None
    is_at_destination: bool
    is_at_meeting_point: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a report came to: the member and the trip as they are now, and what each point was stored under.

    `moved` says that `member.last` is of this report. `jumps` are the places of all points that are too fast.
    `has_told` says that sharing changed, and that an event says so.
    """

    member: Member
    has_ended: bool
    places: Places
    jumps: frozenset[int]
    stored_under: Sequence[Privacy]
    moved: bool
    has_told: bool = False


@dataclass(frozen=True, slots=True)
class Carried:
    """What of a report a stream carries: the points that somebody may see, as stored."""

    trip_id: TripId
    user_id: UserId
    points: Sequence[StoredPoint]


@dataclass(frozen=True, slots=True)
class TripSharing:
    """What the caller shares on one of their trips."""

    trip_id: TripId
    trip_name: str
    sharing: Sharing | None


@dataclass(frozen=True, slots=True)
class OwnSettings:
    """Everything that decides who sees the caller."""

    preference: Privacy | None
    is_ghost: bool
    trips: Sequence[TripSharing]


@dataclass(frozen=True, slots=True)
class View:
    """That somebody was shown a position in some hour."""

    viewer_id: UserId
    viewer_name: str
    hour: datetime


def shown_in(event: Event) -> UserId | None:
    """Whose position an event shows to whoever hears it; None where that is nobody's."""
    return event.actor_id if event.type == POSITION_TOLD else None


def hidden_in(event: Event) -> UserId | None:
    """Whose position may no longer be shown as it was before an event; None where that is nobody's."""
    if event.type not in (SHARING_CHANGED, PRIVACY_CHANGED):
        return None
    payload = json.loads(event.payload)
    return None if payload.get("isSharingEnabled") else UserId(UUID(payload["userId"]))


class OutOfRange(Invalid):
    code = "invalid_coordinates"
    text = "The latitude must be from -90 to 90 and the longitude from -180 to 180."


class NobodyShares(NotFound):
    def __init__(self) -> None:
        super().__init__("shared position", code="no_shared_positions")
