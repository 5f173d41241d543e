"""Validates phones' positions and builds reports from them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import EventId, TripId, UserId
from nomadcrew.core.locations.geometry import distance_m
from nomadcrew.core.locations.model import (
    MAX_AHEAD,
    MAX_SHARING_S,
    MAX_SPEED_MPS,
    MIN_AGREEING,
    MIN_INTERVAL_S,
    Accepted,
    OutOfRange,
    Point,
    Privacy,
    Report,
    Rival,
    Ruling,
    StoredPoint,
    WrongTime,
)
from nomadcrew.core.retention import POSITION_RETENTION

# Valid measurements are between these bounds, in any unit; others are errors of the phone.
LEAST_MEASURED, MOST_MEASURED = 1e-9, 1e8
_MICROSECOND = timedelta(microseconds=1)


class ReportedPosition(Struct, frozen=True):
    """A position from a phone; unknown measurements are None. `taken_at` is by the phone's clock."""

    latitude: float
    longitude: float
    taken_at: datetime | None
    privacy: Privacy
    accuracy_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None


class Weighed(Struct, frozen=True):
    """The jumps of a report, the index of its new last position, and the rival to store if there is none."""

    jumps: frozenset[int]
    newest: int | None
    rival: Rival | None


class SharingChoice(Struct, frozen=True):
    """A report's change of sharing. None leaves sharing unchanged."""

    is_enabled: bool | None = None
    lasts_s: int | None = None


def single(
    trip_id: TripId,
    user_id: UserId,
    fix: ReportedPosition,
    opinion: SharingChoice,
    event_id: EventId,
    *,
    now: datetime,
) -> Report:
    """A report of one position. Without a time it was taken now.

    Raises:
        Invalid: the coordinates or the time are out of range, or sharing lasts less than a second.
    """
    ruling = _ruling(fix, now)
    if ruling is Ruling.OUT_OF_RANGE:
        raise OutOfRange
    if ruling is not Ruling.ACCEPTED:
        raise WrongTime(ruling)
    return _report(trip_id, user_id, _points([fix], now), opinion, event_id, now)


def batch(
    trip_id: TripId,
    user_id: UserId,
    fixes: Sequence[ReportedPosition | None],
    opinion: SharingChoice,
    event_id: EventId,
    *,
    now: datetime,
) -> tuple[Report, list[Ruling]]:
    """A report of the valid positions, and a preliminary verdict for each position, which is None if unreadable.

    Raises:
        Invalid: sharing lasts less than a second.
    """
    rulings = [Ruling.UNREADABLE if fix is None else _ruling(fix, now) for fix in fixes]
    valid = [
        fix for fix, ruling in zip(fixes, rulings, strict=True) if fix is not None and ruling is Ruling.ACCEPTED
    ]
    return _report(trip_id, user_id, _points(valid, now), opinion, event_id, now), rulings


def judged(rulings: Sequence[Ruling], accepted: Accepted) -> list[Ruling]:
    """The final verdict for each position of a stored batch."""
    index = 0  # of the stored points
    verdicts: list[Ruling] = []
    for ruling in rulings:
        if ruling is Ruling.ACCEPTED:
            verdicts.append(Ruling.JUMP if index in accepted.jumps else ruling)
            index += 1
        else:
            verdicts.append(ruling)
    return verdicts


def is_on_earth(fix: ReportedPosition) -> bool:
    """True if the coordinates are in range; False for NaN."""
    return -90 <= fix.latitude <= 90 and -180 <= fix.longitude <= 180


def expiry(opinion: SharingChoice, now: datetime) -> datetime | None:
    """The expiry of sharing with a duration, one day at most; None without a duration.

    Raises:
        Invalid: the duration is less than a second.
    """
    if opinion.lasts_s is None:
        return None
    if opinion.lasts_s <= 0:
        raise Invalid("Sharing must last at least one second.", code="invalid_sharing_expiry")
    # Turning sharing off overrides a duration.
    if opinion.is_enabled is False:
        return None
    return now + timedelta(seconds=min(opinion.lasts_s, MAX_SHARING_S))


def agree(earlier: Point | StoredPoint | Rival, later: Point) -> bool:
    """True if one can have moved from one fix to the other in the time between them."""
    return not too_fast(
        (earlier.latitude, earlier.longitude),
        earlier.recorded_at,
        (later.latitude, later.longitude),
        later.recorded_at,
    )


def weighed(
    report: Report, stored_under: Sequence[Privacy], last: StoredPoint | None, trusted_since: datetime | None
) -> Weighed:
    """The jumps of a report after the last position, and the position that follows it.

    `stored_under` has the privacy of each point. A hidden point also follows a visible one of the same moment: a
    phone may report its last fix once more. The statement that stores positions has the same rule in SQL; a test
    runs both.
    """
    points = report.points
    later = [index for index, point in enumerate(points) if last is None or point.recorded_at > last.recorded_at]
    hiding = [
        index
        for index, point in enumerate(points)
        if last is not None
        and point.recorded_at == last.recorded_at
        and last.privacy is not Privacy.HIDDEN
        and stored_under[index] is Privacy.HIDDEN
    ]
    is_trusted = last is not None and (trusted_since is None or last.received_at >= trusted_since)
    far = [
        index
        for index in sorted(later, key=lambda index: (points[index].recorded_at, index))
        if last is not None and is_trusted and index not in report.jumps and not agree(last, points[index])
    ]
    votes = len(far)
    if last is not None and last.rival is not None and far:
        votes += _votes(last.rival, points[far[0]])
    jumps = report.jumps.union(far if votes < MIN_AGREEING else ())
    newest = max(
        (index for index in (*later, *hiding) if index not in jumps),
        key=lambda index: (points[index].recorded_at, index),
        default=None,
    )
    if newest is not None or not far:
        return Weighed(jumps, newest, None)
    at = points[far[-1]]
    return Weighed(jumps, None, Rival(at.latitude, at.longitude, at.recorded_at, votes))


def _votes(rival: Rival, first: Point) -> int:
    """The number of earlier fixes that agree with the first one of a report."""
    return rival.count if rival.recorded_at < first.recorded_at and agree(rival, first) else 0


def too_fast(place: tuple[float, float], since: datetime, other: tuple[float, float], until: datetime) -> bool:
    """True if moving from one place to the other in this time exceeds `MAX_SPEED_MPS`."""
    seconds = max((until - since).total_seconds(), MIN_INTERVAL_S)
    return distance_m(place, other) > MAX_SPEED_MPS * seconds


def _report(
    trip_id: TripId,
    user_id: UserId,
    points: Sequence[Point],
    opinion: SharingChoice,
    event_id: EventId,
    now: datetime,
) -> Report:
    expires_at = expiry(opinion, now)
    is_enabled = True if opinion.is_enabled is None and expires_at is not None else opinion.is_enabled
    return Report(trip_id, user_id, points, _jumps(points), is_enabled, expires_at, event_id, now)


def _jumps(points: Sequence[Point]) -> frozenset[int]:
    """The indexes of points that are too fast after the last plausible point before them.

    Points that agree with one another outvote those before them, once there are `MIN_AGREEING`.
    """
    jumps: set[int] = set()
    trusted: list[int] = []
    rivals: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: points[index].recorded_at):
        if not trusted or agree(points[trusted[-1]], points[index]):
            trusted.append(index)
            jumps.update(rivals)
            rivals = []
        elif rivals and agree(points[rivals[-1]], points[index]):
            rivals.append(index)
        else:
            jumps.update(rivals)
            rivals = [index]
        if len(rivals) == MIN_AGREEING:
            if len(trusted) < MIN_AGREEING:
                jumps.update(trusted)
            trusted, rivals = rivals, []
    return frozenset(jumps.union(rivals))


def _ruling(fix: ReportedPosition, now: datetime) -> Ruling:
    if not is_on_earth(fix):
        return Ruling.OUT_OF_RANGE
    refusal = None if fix.taken_at is None else _time_refusal(fix.taken_at, now)
    return Ruling.ACCEPTED if refusal is None else refusal


def _time_refusal(taken_at: datetime, now: datetime) -> Ruling | None:
    if taken_at > now + MAX_AHEAD:
        return Ruling.IN_FUTURE
    return Ruling.TOO_OLD if taken_at < now - POSITION_RETENTION else None


def _points(fixes: Sequence[ReportedPosition], now: datetime) -> list[Point]:
    """The points of valid positions.

    A phone whose clock is ahead took its positions before now, so they get the time of now. Those of one report
    keep their order, a microsecond apart: a later position replaces an earlier one, and times identify points.
    """
    times = [fix.taken_at or now for fix in fixes]
    ahead = [index for index, at in enumerate(times) if at > now]
    for rank, index in enumerate(sorted(ahead, key=lambda index: (times[index], index), reverse=True)):
        times[index] = now - rank * _MICROSECOND
    return [_point(fix, at) for fix, at in zip(fixes, times, strict=True)]


def _point(fix: ReportedPosition, recorded_at: datetime) -> Point:
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
    """A valid measurement, else None. Phones send -1 for an unknown one."""
    return _not_tiny(value) if value is not None and 0 <= value <= MOST_MEASURED else None


def _not_tiny(value: float) -> float:
    """`value`, or zero if it is below `LEAST_MEASURED`: the square of a tiny number underflows in databases."""
    return value if abs(value) >= LEAST_MEASURED else 0.0
