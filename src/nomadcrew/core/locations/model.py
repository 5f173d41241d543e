"""Positions: reported, stored and visible."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.errors import Invalid, NotFound
from nomadcrew.core.events import Event
from nomadcrew.core.ids import EventId, TripId, UserId
from nomadcrew.core.names import display_name

# The tolerance for a phone's clock that is ahead.
MAX_AHEAD = timedelta(minutes=2)
# The maximum age of a fix that turns sharing on again.
MAX_FIX_AGE = timedelta(minutes=2)
# An older last position is not shown; the shipped app has the same limit.
STALE_AFTER = timedelta(hours=24)
MAX_SHARING_S = 86_400
# Faster than any airliner: a higher speed means a wrong fix.
MAX_SPEED_MPS = 350.0
# Shorter intervals between fixes are too short to compute a speed.
MIN_INTERVAL_S = 1.0
# So many fixes that agree with one another outvote a last position that is too far from them.
MIN_AGREEING = 3
MAX_BATCH = 500
DEFAULT_RADIUS_M = 150.0
# The maximum number of points read for a track, evenly thinned: the size limit of a Data API reply.
MAX_READ = 1_500
MAX_POINTS = 1_000
POSITION_UPDATED = "LOCATION_UPDATED"
SHARING_CHANGED = "LOCATION_SHARING_CHANGED"
PRIVACY_CHANGED = "location_privacy.changed"


class Privacy(StrEnum):
    """The precision in which other members see a position."""

    HIDDEN = "hidden"
    APPROXIMATE = "approximate"
    PRECISE = "precise"


class Ruling(StrEnum):
    """The verdict on a reported point."""

    ACCEPTED = "accepted"
    JUMP = "jump"  # stored, but too fast to be real: never becomes the last position
    IN_FUTURE = "in_future"
    TOO_OLD = "too_old"
    OUT_OF_RANGE = "out_of_range"
    UNREADABLE = "unreadable"


class Point(Struct, frozen=True):
    """A fix in WGS-84 decimal degrees, taken at `recorded_at`, with the privacy that its report requests."""

    latitude: float
    longitude: float
    recorded_at: datetime
    privacy: Privacy
    accuracy_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None


class Rival(Struct, frozen=True):
    """The newest of `count` fixes that are too far from the last position, but agree with one another."""

    latitude: float
    longitude: float
    recorded_at: datetime
    count: int


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A stored point. `privacy` is the strictest privacy that applied when it was reported."""

    latitude: float
    longitude: float
    recorded_at: datetime
    received_at: datetime
    privacy: Privacy
    accuracy_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None
    is_jump: bool = False
    rival: Rival | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Sharing:
    """A member's sharing on a trip. `privacy` None means that the trip has no privacy of its own.

    Sharing ends at `expires_at` if the member set a duration, else at `ends_at`, a day after the trip's last day.
    """

    is_enabled: bool
    privacy: Privacy | None = None
    expires_at: datetime | None = None
    ends_at: datetime | None = field(default=None, compare=False)

    @property
    def until(self) -> datetime | None:
        """The end of sharing, if it is enabled; None if it has none."""
        return self.expires_at or self.ends_at

    def is_on(self, now: datetime) -> bool:
        return self.is_enabled and (self.until is None or now < self.until)


class Owner(Struct, frozen=True):
    """The owner of a position, with the fields that decide who sees it. `joined_at` is None for a former member."""

    user_id: UserId
    joined_at: datetime | None
    preference: Privacy | None
    is_ghost: bool
    sharing: Sharing | None


class Reader(Struct, frozen=True):
    """The reader of a position; `joined_at` is None for a reader who is not on the trip."""

    user_id: UserId
    joined_at: datetime | None


class Member(Struct, frozen=True):
    """A member with the last position as stored."""

    owner: Owner
    first_name: str
    last_name: str
    username: str
    last: StoredPoint | None

    @property
    def name(self) -> str:
        return display_name(self.first_name, self.last_name, self.username)


class MeetingPoint(Struct, frozen=True):
    latitude: float
    longitude: float
    name: str
    radius_m: float
    set_by: UserId | None
    set_at: datetime


class Crew(Struct, frozen=True):
    """A trip's members with their last positions as stored, before `privacy` decides what the reader may see."""

    reader: Reader
    has_ended: bool
    members: Sequence[Member]


class Track(Struct, frozen=True):
    """A member's points as stored, oldest first."""

    reader: Reader
    has_ended: bool
    owner: Owner
    points: Sequence[StoredPoint]


class Report(Struct, frozen=True):
    """A phone's report for one trip.

    `is_enabled` turns sharing on or off, None leaves it unchanged; `expires_at` limits it. `jumps` are the indexes
    of points that are too fast after the previous point of the report.
    """

    trip_id: TripId
    user_id: UserId
    points: Sequence[Point]
    jumps: frozenset[int]
    is_enabled: bool | None
    expires_at: datetime | None
    event_id: EventId
    now: datetime

    def as_stored(self, index: int, privacy: Privacy, *, is_jump: bool = False) -> StoredPoint:
        """The stored form of the point at `index`."""
        point = self.points[index]
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


class ArrivalState(Struct, frozen=True):
    """The places where arrivals are detected, and the member's state at each, as last announced."""

    destination: tuple[float, float]
    meeting_point: tuple[float, float, float] | None
    is_at_destination: bool
    is_at_meeting_point: bool


class Accepted(Struct, frozen=True):
    """The result of a report: the member and the trip as they are now, and the privacy of each stored point.

    `moved` says whether `member.last` is from this report. A last position received before `trusted_since` does not
    make later ones jumps. `jumps` are the indexes of all points that are too fast.
    `has_told` says whether sharing changed, with an event in the outbox.
    """

    member: Member
    has_ended: bool
    arrival_state: ArrivalState
    jumps: frozenset[int]
    stored_under: Sequence[Privacy]
    moved: bool
    has_events: bool = False
    trusted_since: datetime | None = None


class LocationRecord(Struct, frozen=True):
    """A record of the location stream: the points of a report that are not hidden, as stored."""

    trip_id: TripId
    user_id: UserId
    points: Sequence[StoredPoint]


class TripSharing(Struct, frozen=True):
    """The caller's sharing on one trip."""

    trip_id: TripId
    trip_name: str
    sharing: Sharing | None


class OwnSettings(Struct, frozen=True):
    """All settings that decide who sees the caller's positions."""

    preference: Privacy | None
    is_ghost: bool
    trips: Sequence[TripSharing]


class View(Struct, frozen=True):
    """A member saw a position within an hour."""

    viewer_id: UserId
    viewer_name: str
    hour: datetime


def position_owner(event: Event) -> UserId | None:
    """The user whose position this event reveals, or None."""
    return event.actor_id if event.type == POSITION_UPDATED else None


def hiding_user(event: Event) -> UserId | None:
    """The user whose position must be hidden or coarsened after this event, or None."""
    if event.type not in (SHARING_CHANGED, PRIVACY_CHANGED):
        return None
    payload = json.loads(event.payload)
    return None if payload.get("isSharingEnabled") else UserId(UUID(payload["userId"]))


class OutOfRange(Invalid):
    code = "invalid_coordinates"
    text = "The latitude must be from -90 to 90 and the longitude from -180 to 180."


class WrongTime(Invalid):
    """The time of a position is known and impossible, so it says nothing about where its owner is now."""

    code = "invalid_timestamp"

    def __init__(self, ruling: Ruling) -> None:
        super().__init__(
            "The position is from the future: set the device's clock."
            if ruling is Ruling.IN_FUTURE
            else "The position is more than 30 days old."
        )


class NoPositionsShared(NotFound):
    def __init__(self) -> None:
        super().__init__("shared position", code="no_shared_positions")
