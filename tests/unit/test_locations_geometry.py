"""Distances, the geometric median and thinned tracks."""

import math
import random

import pytest

from nomadcrew.core.locations import meeting_point
from nomadcrew.core.locations.geometry import EARTH_RADIUS_M, LatLon, distance_m, thinned
from nomadcrew.core.locations.meeting_point import geometric_median

PORTO, LISBON, SYDNEY = (41.1496, -8.6110), (38.7223, -9.1393), (-33.8688, 151.2093)


@pytest.mark.parametrize(
    ("a", "b", "metres"),
    [
        (PORTO, PORTO, 0),
        (PORTO, LISBON, 273_700),  # 274 km as the crow flies
        (PORTO, SYDNEY, 18_098_000),
        ((0, 179.999), (0, -179.999), 222.4),
        ((0, 0), (0, 180), math.pi * EARTH_RADIUS_M),
        ((90, 0), (-90, 77), math.pi * EARTH_RADIUS_M),
    ],
)
def test_distances(a: LatLon, b: LatLon, metres: float) -> None:
    assert distance_m(a, b) == pytest.approx(metres, rel=0.005)
    assert distance_m(a, b) == distance_m(b, a)


def total(at: LatLon, points: list[LatLon]) -> float:
    return sum(distance_m(at, point) for point in points)


def test_the_median_minimises_the_total_distance() -> None:
    rng = random.Random(7)
    for _ in range(30):
        points = [
            (PORTO[0] + rng.uniform(-0.1, 0.1), PORTO[1] + rng.uniform(-0.1, 0.1))
            for _ in range(rng.randint(3, 12))
        ]
        median = geometric_median(points)
        for step in (1e-3, 1e-4, 1e-5):
            for angle in range(0, 360, 30):
                other = (
                    median[0] + step * math.sin(math.radians(angle)),
                    median[1] + step * math.cos(math.radians(angle)),
                )  # fmt: skip
                assert total(median, points) <= total(other, points) + 0.01


def test_the_median_of_a_triangle_is_its_fermat_point() -> None:
    # Seen from it, each side has an angle of 120 degrees.
    median = geometric_median([(0.0, -0.01), (0.0, 0.01), (0.03, 0.0)])
    assert median == pytest.approx((0.01 / math.sqrt(3), 0.0), abs=1e-6)


def test_the_median_of_one_two_and_coinciding_points() -> None:
    assert geometric_median([PORTO]) == pytest.approx(PORTO)
    between = geometric_median([PORTO, LISBON])
    assert total(between, [PORTO, LISBON]) == pytest.approx(distance_m(PORTO, LISBON))
    assert geometric_median([PORTO, PORTO, PORTO, LISBON]) == pytest.approx(PORTO, abs=1e-6)
    assert geometric_median([PORTO, PORTO, LISBON]) == pytest.approx(PORTO, abs=1e-6)


def test_the_median_works_at_the_date_line_and_the_poles() -> None:
    latitude, longitude = geometric_median([(0.0, 179.9), (0.0, -179.9), (0.1, 180.0)])
    assert abs(longitude) == pytest.approx(180, abs=1e-6)
    assert 0 < latitude < 0.1
    assert geometric_median([(89.0, 0.0), (89.0, 120.0), (89.0, -120.0)])[0] == pytest.approx(90, abs=1e-4)


def test_the_median_of_antipodes_is_one_of_them() -> None:
    assert geometric_median([(0.0, 0.0), (0.0, 180.0)]) in [(0.0, 0.0), (0.0, 180.0)]


def test_the_work_for_many_people_far_apart_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    crews = [[(rng.uniform(-89, 89), rng.uniform(-180, 180)) for _ in range(count)] for count in (3, 30, 100)]
    found = [geometric_median(crew) for crew in crews]
    monkeypatch.setattr(meeting_point, "_WORK", 1_000_000)
    monkeypatch.setattr(meeting_point, "_ROUNDS", 10_000)
    for crew, median in zip(crews, found, strict=True):
        assert total(median, crew) <= total(geometric_median(crew), crew) * 1.000_01
        assert total(median, crew) <= min(total(one, crew) for one in crew) + 0.001


def a_walk(count: int) -> list[LatLon]:
    rng, at, found = random.Random(3), PORTO, []
    for _ in range(count):
        at = (at[0] + rng.uniform(-1e-4, 2e-4), at[1] + rng.uniform(-1e-4, 2e-4))
        found.append(at)
    return found


@pytest.mark.parametrize("max_points", [2, 3, 50, 999])
def test_a_thinned_track_has_the_wanted_length_in_order_with_both_ends(max_points: int) -> None:
    walk = a_walk(1000)
    kept = thinned(walk, max_points)
    assert len(kept) == max_points
    assert kept == sorted(set(kept))
    assert (kept[0], kept[-1]) == (0, 999)


def test_a_short_track_is_not_thinned() -> None:
    walk = a_walk(5)
    assert thinned(walk, 5) == thinned(walk, 99) == [0, 1, 2, 3, 4]
    assert thinned([], 3) == []
    assert thinned(walk, 1) == [4]
    assert thinned(walk, 0) == []


def test_points_on_a_straight_line_are_dropped_first() -> None:
    straight = [(0.0, n / 1000) for n in range(10)]
    corner = [*straight, *((n / 1000, 0.009) for n in range(1, 10))]
    assert thinned(corner, 3) == [0, 9, 18]
    there_and_back = [*straight, *((0.005, 0.009 - n / 1000) for n in range(10))]
    assert thinned(there_and_back, 4) == [0, 9, 10, 19]


def test_a_track_across_the_date_line_is_short() -> None:
    crossing = [(0.0, 179.98), (0.0, 179.99), (0.0, -180.0), (0.0, -179.99), (0.02, -179.99)]
    assert thinned(crossing, 3) == [0, 3, 4]
