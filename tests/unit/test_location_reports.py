"""From what phones send to what is stored, and who has arrived."""

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


@pytest.mark.parametrize("place", [(0, 0), (90, 180), (-90, -180), (0.0, -8.61)])
def test_every_place_on_earth_is_one(place: tuple[float, float]) -> None:
    [point] = reported(a_fix(*place)).points
    assert (point.latitude, point.longitude) == place


@pytest.mark.parametrize(
    "place",
    [(90.01, 0), (-91, 0), (0, 180.5), (0, -181), (math.nan, 0), (0, math.nan), (math.inf, 0), (0, -math.inf)],
)
def test_no_other_is(place: tuple[float, float]) -> None:
    with pytest.raises(OutOfRange):
        reported(a_fix(*place))
    _, rulings = batch(TRIP, ANA, [a_fix(*place)], SharingChoice(), EVENT, now=NOON)
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
def test_a_time_that_cannot_be_is_the_servers_alone_and_refused_in_a_batch(
    taken_at: datetime | None, ruling: Ruling
) -> None:
    [point] = reported(a_fix(taken_at=taken_at)).points
    assert point.recorded_at == (taken_at if taken_at and ruling is Ruling.ACCEPTED else NOON)
    report, rulings = batch(TRIP, ANA, [a_fix(taken_at=taken_at)], SharingChoice(), EVENT, now=NOON)
    assert rulings == [ruling]
    assert len(report.points) == (ruling is Ruling.ACCEPTED)


@pytest.mark.parametrize("value", [None, -1.0, math.nan, math.inf, 1e300])
def test_what_was_not_measured_is_not_known(value: float | None) -> None:
    [point] = reported(a_fix(accuracy_m=value, speed_mps=value, heading_deg=value)).points
    assert (point.accuracy_m, point.speed_mps, point.heading_deg) == (None, None, None)


def test_what_is_smaller_than_anything_measured_is_nothing() -> None:
    [point] = reported(a_fix(4e-275, -1e-10, accuracy_m=6e-71)).points
    assert (point.latitude, point.longitude, point.accuracy_m) == (0.0, 0.0, 0.0)


def test_zero_is_measured_and_a_full_turn_is_none() -> None:
    [point] = reported(a_fix(accuracy_m=0.0, speed_mps=0.0, heading_deg=360.0)).points
    assert (point.accuracy_m, point.speed_mps, point.heading_deg) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("is_enabled", "lasts_s", "said", "until"),
    [
        (None, None, None, None),
        (True, None, True, None),
        (False, None, False, None),
        (None, 60, True, NOON + 60 * SECOND),
        (True, 10**12, True, NOON + timedelta(days=1)),
        (False, 60, False, None),
    ],
)
def test_what_is_said_about_sharing(
    is_enabled: bool | None, lasts_s: int | None, said: bool | None, until: datetime | None
) -> None:
    report = reported(a_fix(), is_enabled=is_enabled, lasts_s=lasts_s)
    assert (report.is_enabled, report.expires_at) == (said, until)


@pytest.mark.parametrize("lasts_s", [0, -5])
def test_sharing_for_no_time_is_refused(lasts_s: int) -> None:
    with pytest.raises(Invalid) as refusal:
        reported(a_fix(), lasts_s=lasts_s)
    assert refusal.value.code == "invalid_sharing_expiry"


def test_a_batch_finds_its_jumps_whatever_the_order_and_says_where_each_was() -> None:
    at = [(3, 41.03), (2, 50.0), (None, 95.0), (1, 41.01), (4, 50.1), (5, 41.05)]
    fixes = [
        a_fix(latitude, taken_at=None if s is None else NOON - 600 * SECOND + s * SECOND * 9) for s, latitude in at
    ]
    report, rulings = batch(TRIP, ANA, fixes, SharingChoice(), EVENT, now=NOON)
    assert report.jumps == {1, 3}
    assert judged(rulings, an_outcome(report.jumps)) == [
        Ruling.ACCEPTED, Ruling.JUMP, Ruling.OUT_OF_RANGE, Ruling.ACCEPTED, Ruling.JUMP, Ruling.ACCEPTED
    ]  # fmt: skip


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
def test_somebody_arrives_within_the_radius_and_leaves_well_outside(
    metres: float, was_there: bool, expected: Change | None
) -> None:
    places = ArrivalState((0.0, 0.0), None, was_there, False)
    assert list(changes(shown_at(metres * METRE), places)) == ([] if expected is None else [expected])


def test_a_meeting_point_has_a_radius_of_its_own() -> None:
    places = ArrivalState((0.0, 0.0), (1.0, 0.0, 50.0), False, False)
    assert list(changes(shown_at(1.0 + 49 * METRE), places)) == [Change(Destination.MEETING_POINT, True)]
    assert list(changes(shown_at(1.0 + 51 * METRE), places)) == []
    both = ArrivalState((0.0, 0.0), (1.0, 0.0, 50.0), True, False)
    assert list(changes(shown_at(1.0), both)) == [
        Change(Destination.DESTINATION, False), Change(Destination.MEETING_POINT, True)
    ]  # fmt: skip
