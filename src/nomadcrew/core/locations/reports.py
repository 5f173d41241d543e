"""From what phones send to reports that can be stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import EventId, TripId, UserId
from nomadcrew.core.locations.geometry import distance_m
from nomadcrew.core.locations.model import (
    HISTORY_KEPT_FOR,
    MAX_AHEAD,
    MAX_SHARING_S,
    MAX_SPEED_MPS,
    MIN_INTERVAL_S,
    Accepted,
    OutOfRange,
    Point,
    Privacy,
    Report,
    Ruling,
)

# What phones measure is between these, whatever the unit; beyond them it is a mistake of theirs.
LEAST_MEASURED, MOST_MEASURED = 1e-9, 1e8


@dataclass(frozen=True, slots=True)
class Fix:
    """A position as a phone sends it; what phones do not know is None. `taken_at` is by the phone's clock."""

    latitude: float
    longitude: float
    taken_at: datetime | None
    privacy: Privacy
    accuracy_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a report says about sharing itself; nothing, unless told."""

    is_enabled: bool | None = None
    lasts_s: int | None = None


def single(
    trip_id: TripId, user_id: UserId, fix: Fix, opinion: Opinion, event_id: EventId, *, now: datetime
) -> Report:
    """A report of one position. A time that cannot be is replaced by the server's.

    Raises:
        Invalid: no such place on earth, or sharing that lasts no time.
    """
    if not is_on_earth(fix):
        raise OutOfRange
    taken_at = fix.taken_at
    if taken_at is None or _misplaced(taken_at, now) is not None:
        taken_at = now
    return _report(trip_id, user_id, [_point(fix, taken_at)], opinion, event_id, now)


def batch(
    trip_id: TripId, user_id: UserId, fixes: Sequence[Fix], opinion: Opinion, event_id: EventId, *, now: datetime
) -> tuple[Report, list[Ruling]]:
    """A report of the positions that can be used, and what becomes of each that was sent.

    Raises:
        Invalid: sharing that lasts no time.
    """
    rulings = [_ruling(fix, now) for fix in fixes]
    points = [
        _point(fix, fix.taken_at or now)
        for fix, ruling in zip(fixes, rulings, strict=True)
        if ruling is Ruling.ACCEPTED
    ]
    return _report(trip_id, user_id, points, opinion, event_id, now), rulings


def judged(rulings: Sequence[Ruling], accepted: Accepted) -> list[Ruling]:
    """What became of each position of a batch, now that it is stored."""
    place = 0
    found: list[Ruling] = []
    for ruling in rulings:
        if ruling is Ruling.ACCEPTED:
            found.append(Ruling.JUMP if place in accepted.jumps else ruling)
            place += 1
        else:
            found.append(ruling)
    return found


def is_on_earth(fix: Fix) -> bool:
    """False for what is no number, too."""
    return -90 <= fix.latitude <= 90 and -180 <= fix.longitude <= 180


def expiry(opinion: Opinion, now: datetime) -> datetime | None:
    """Until when is shared what is shared for a time, a day at most.

    Raises:
        Invalid: it lasts no time.
    """
    if opinion.lasts_s is None:
        return None
    if opinion.lasts_s <= 0:
        raise Invalid("Sharing must last at least one second.", code="invalid_sharing_expiry")
    # Whoever switches sharing off shares for no time, whatever else is said.
    if opinion.is_enabled is False:
        return None
    return now + timedelta(seconds=min(opinion.lasts_s, MAX_SHARING_S))


def too_fast(place: tuple[float, float], since: datetime, other: tuple[float, float], until: datetime) -> bool:
    """Whether nobody gets from one place to the other between these moments."""
    seconds = max((until - since).total_seconds(), MIN_INTERVAL_S)
    return distance_m(place, other) > MAX_SPEED_MPS * seconds


def _report(
    trip_id: TripId,
    user_id: UserId,
    points: Sequence[Point],
    opinion: Opinion,
    event_id: EventId,
    now: datetime,
) -> Report:
    expires_at = expiry(opinion, now)
    is_enabled = True if opinion.is_enabled is None and expires_at is not None else opinion.is_enabled
    return Report(trip_id, user_id, points, _jumps(points), is_enabled, expires_at, event_id, now)


def _jumps(points: Sequence[Point]) -> frozenset[int]:
    """The places of points that are too fast after the last believable one before them."""
    jumps: set[int] = set()
    last: Point | None = None
    for place in sorted(range(len(points)), key=lambda place: points[place].recorded_at):
        point = points[place]
        if last is not None and too_fast(
            (last.latitude, last.longitude),
            last.recorded_at,
            (point.latitude, point.longitude),
            point.recorded_at,
        ):
            jumps.add(place)
        else:
            last = point
    return frozenset(jumps)


def _ruling(fix: Fix, now: datetime) -> Ruling:
    if not is_on_earth(fix):
        return Ruling.OUT_OF_RANGE
    misplaced = None if fix.taken_at is None else _misplaced(fix.taken_at, now)
    return Ruling.ACCEPTED if misplaced is None else misplaced


def _misplaced(taken_at: datetime, now: datetime) -> Ruling | None:
    if taken_at > now + MAX_AHEAD:
        return Ruling.IN_FUTURE
    return Ruling.TOO_OLD if taken_at < now - HISTORY_KEPT_FOR else None


def _point(fix: Fix, recorded_at: datetime) -> Point:
    heading = _measured(fix.heading_deg)
    return Point(
        _not_tiny(fix.latitude),
        _not_tiny(fix.longitude),
        recorded_at,
        fix.privacy,
        _measured(fix.accuracy_m),
        _measured(fix.speed_mps),
        None if heading is None else heading % 360,
    )


def _measured(value: float | None) -> float | None:
    """What was measured; phones say -1 where nothing was."""
    return _not_tiny(value) if value is not None and 0 <= value <= MOST_MEASURED else None


def _not_tiny(value: float) -> float:
    """`value`, or zero where it is nearer to that than anything is measured; databases stumble over its square."""
    return value if abs(value) >= LEAST_MEASURED else 0.0
