"""From reported to stored positions, and arrivals."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import EventId, TripId, uuid7
from nomadcrew.core.locations.arrival import Change, Destination, changes
from nomadcrew.core.locations.model import (
    Accepted,
    ArrivalState,
    Member,
    OutOfRange,
    Owner,
    Privacy,
    Report,
    Ruling,
    WrongTime,
)
from nomadcrew.core.locations.privacy import VisiblePosition
from nomadcrew.core.locations.reports import ReportedPosition, SharingChoice, batch, judged, single
from tests.fakes import ANA, NOON

TRIP, EVENT = TripId(uuid7()), EventId(uuid7())
SECOND = timedelta(seconds=1)


def a_fix(
    latitude: float = 41.15, longitude: float = -8.61, taken_at: datetime | None = NOON, **measured: Any
) -> ReportedPosition:
    return ReportedPosition(latitude, longitude, taken_at, Privacy.PRECISE, **measured)


def reported(fix: ReportedPosition, *, is_enabled: bool | None = None, lasts_s: int | None = None) -> Report:
    return single(TRIP, ANA, fix, SharingChoice(is_enabled, lasts_s), EVENT, now=NOON)


@pytest.mark.parametrize("position", [(0, 0), (90, 180), (-90, -180), (0.0, -8.61)])
def test_every_valid_position_is_accepted(position: tuple[float, float]) -> None:
    [point] = reported(a_fix(*position)).points
    assert (point.latitude, point.longitude) == position


@pytest.mark.parametrize(
    "position",
    [(90.01, 0), (-91, 0), (0, 180.5), (0, -181), (math.nan, 0), (0, math.nan), (math.inf, 0), (0, -math.inf)],
)
def test_an_invalid_position_is_refused(position: tuple[float, float]) -> None:
    with pytest.raises(OutOfRange):
        reported(a_fix(*position))
    _, rulings = batch(TRIP, ANA, [a_fix(*position)], SharingChoice(), EVENT, now=NOON)
    assert rulings == [Ruling.OUT_OF_RANGE]


@pytest.mark.parametrize(
    ("taken_at", "ruling"),
    [
        (None, Ruling.ACCEPTED),
        (NOON + 120 * SECOND, Ruling.ACCEPTED),
        (NOON + 121 * SECOND, Ruling.IN_FUTURE),
        (NOON - timedelta(days=30), Ruling.ACCEPTED),
        (NOON - timedelta(days=30, seconds=1), Ruling.TOO_OLD),
        (datetime.max.replace(tzinfo=UTC), Ruling.IN_FUTURE),
        (datetime.min.replace(tzinfo=UTC), Ruling.TOO_OLD),
    ],
)
def test_an_impossible_time_is_refused_and_a_time_ahead_is_now(taken_at: datetime | None, ruling: Ruling) -> None:
    report, rulings = batch(TRIP, ANA, [a_fix(taken_at=taken_at)], SharingChoice(), EVENT, now=NOON)
    assert rulings == [ruling]
    if ruling is Ruling.ACCEPTED:
        assert [point.recorded_at for point in report.points] == [min(taken_at or NOON, NOON)]
        assert reported(a_fix(taken_at=taken_at)).points == report.points
    else:
        assert report.points == []
        with pytest.raises(WrongTime) as refusal:
            reported(a_fix(taken_at=taken_at))
        assert refusal.value.code == "invalid_timestamp"


def test_positions_of_a_clock_ahead_keep_their_order_and_their_number() -> None:
    ahead = [a_fix(taken_at=NOON + seconds * SECOND) for seconds in (20, 60, 40, -5, 60)]
    report, _ = batch(TRIP, ANA, ahead, SharingChoice(), EVENT, now=NOON)
    micros = [(point.recorded_at - NOON) / timedelta(microseconds=1) for point in report.points]
    assert micros == [-3, -1, -2, -5_000_000, 0]


def test_an_unreadable_position_of_a_batch_is_refused_alone() -> None:
    report, rulings = batch(TRIP, ANA, [None, a_fix(), None], SharingChoice(), EVENT, now=NOON)
    assert rulings == [Ruling.UNREADABLE, Ruling.ACCEPTED, Ruling.UNREADABLE]
    assert len(report.points) == 1


@pytest.mark.parametrize("value", [None, -1.0, math.nan, math.inf, 1e300])
def test_an_invalid_measurement_is_unknown(value: float | None) -> None:
    [point] = reported(a_fix(accuracy_m=value, speed_mps=value, heading_deg=value)).points
    assert (point.accuracy_m, point.speed_mps, point.heading_deg) == (None, None, None)


def test_a_tiny_number_is_zero() -> None:
    [point] = reported(a_fix(4e-275, -1e-10, accuracy_m=6e-71)).points
    assert (point.latitude, point.longitude, point.accuracy_m) == (0.0, 0.0, 0.0)


def test_zero_is_a_measurement_and_360_degrees_are_zero() -> None:
    [point] = reported(a_fix(accuracy_m=0.0, speed_mps=0.0, heading_deg=360.0)).points
    assert (point.accuracy_m, point.speed_mps, point.heading_deg) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("is_enabled", "lasts_s", "enabled", "until"),
    [
        (None, None, None, None),
        (True, None, True, None),
        (False, None, False, None),
        (None, 60, True, NOON + 60 * SECOND),
        (True, 10**12, True, NOON + timedelta(days=1)),
        (False, 60, False, None),
    ],
)
def test_sharing_options_are_normalised(
    is_enabled: bool | None, lasts_s: int | None, enabled: bool | None, until: datetime | None
) -> None:
    report = reported(a_fix(), is_enabled=is_enabled, lasts_s=lasts_s)
    assert (report.is_enabled, report.expires_at) == (enabled, until)


@pytest.mark.parametrize("lasts_s", [0, -5])
def test_sharing_without_duration_is_refused(lasts_s: int) -> None:
    with pytest.raises(Invalid) as refusal:
        reported(a_fix(), lasts_s=lasts_s)
    assert refusal.value.code == "invalid_sharing_expiry"


def test_a_batch_finds_jumps_in_any_order_and_reports_their_indexes() -> None:
    at = [(3, 41.03), (2, 50.0), (None, 95.0), (1, 41.01), (4, 50.1), (5, 41.05)]
    fixes = [
        a_fix(latitude, taken_at=None if s is None else NOON - 600 * SECOND + s * SECOND * 9) for s, latitude in at
    ]
    report, rulings = batch(TRIP, ANA, fixes, SharingChoice(), EVENT, now=NOON)
    assert report.jumps == {1, 3}
    assert judged(rulings, an_outcome(report.jumps)) == [
        Ruling.ACCEPTED, Ruling.JUMP, Ruling.OUT_OF_RANGE, Ruling.ACCEPTED, Ruling.JUMP, Ruling.ACCEPTED
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("places", "jumps"),
    [
        ("PPPP", set()), ("APPP", {0}), ("AAPPP", {0, 1}), ("AAAPPP", set()), ("PAPAP", {1, 3}), ("PPAA", {2, 3}),
        ("PABAB", {1, 2, 3, 4}), ("APPAPP", {1, 2, 4, 5}), ("PAAAA", {0}), ("A", set()),
    ],
)  # fmt: skip
def test_points_that_agree_outvote_those_before_them(places: str, jumps: set[int]) -> None:
    at = {"P": (41.15, -8.61), "A": (48.85, 2.35), "B": (0.0, 0.0)}
    fixes = [a_fix(*at[place], NOON - (60 - index) * SECOND) for index, place in enumerate(places)]
    report, _ = batch(TRIP, ANA, fixes, SharingChoice(), EVENT, now=NOON)
    assert report.jumps == jumps


def an_outcome(jumps: frozenset[int]) -> Accepted:
    owner = Owner(ANA, NOON, None, False, None)
    places = ArrivalState((0.0, 0.0), None, False, False)
    return Accepted(Member(owner, "", "", "ana", None), False, places, jumps, [], False)


def shown_at(latitude: float) -> VisiblePosition:
    return VisiblePosition(latitude, 0.0, NOON, Privacy.PRECISE)


METRE = 1 / 111_195.08  # degrees of latitude


@pytest.mark.parametrize(
    ("metres", "was_there", "expected"),
    [
        (149, False, Change(Destination.DESTINATION, True)),
        (151, False, None),
        (0, True, None),
        (299, True, None),
        (301, True, Change(Destination.DESTINATION, False)),
    ],
)
def test_arrival_is_within_the_radius_and_departure_well_outside(
    metres: float, was_there: bool, expected: Change | None
) -> None:
    places = ArrivalState((0.0, 0.0), None, was_there, False)
    assert list(changes(shown_at(metres * METRE), places)) == ([] if expected is None else [expected])


def test_a_meeting_point_has_its_own_radius() -> None:
    places = ArrivalState((0.0, 0.0), (1.0, 0.0, 50.0), False, False)
    assert list(changes(shown_at(1.0 + 49 * METRE), places)) == [Change(Destination.MEETING_POINT, True)]
    assert list(changes(shown_at(1.0 + 51 * METRE), places)) == []
    both = ArrivalState((0.0, 0.0), (1.0, 0.0, 50.0), True, False)
    assert list(changes(shown_at(1.0), both)) == [
        Change(Destination.DESTINATION, False), Change(Destination.MEETING_POINT, True)
    ]  # fmt: skip
