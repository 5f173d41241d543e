"""Distances, the fair point and thinned tracks."""

import math
import random

import pytest

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


def total(at: LatLon, places: list[LatLon]) -> float:
    return sum(distance_m(at, place) for place in places)


def test_no_point_nearby_is_fairer() -> None:
    chance = random.Random(7)
    for _ in range(30):
        places = [
            (PORTO[0] + chance.uniform(-0.1, 0.1), PORTO[1] + chance.uniform(-0.1, 0.1))
            for _ in range(chance.randint(3, 12))
        ]
        fair = geometric_median(places)
        for step in (1e-3, 1e-4, 1e-5):
            for angle in range(0, 360, 30):
                other = (
                    fair[0] + step * math.sin(math.radians(angle)), fair[1] + step * math.cos(math.radians(angle))
                )  # fmt: skip
                assert total(fair, places) <= total(other, places) + 0.01


def test_the_fair_point_of_a_triangle_is_fermats() -> None:
    # From the equator: each side is seen under 120 degrees.
    fair = geometric_median([(0.0, -0.01), (0.0, 0.01), (0.03, 0.0)])
    assert fair == pytest.approx((0.01 / math.sqrt(3), 0.0), abs=1e-6)


def test_one_two_and_many_at_one_place() -> None:
    assert geometric_median([PORTO]) == pytest.approx(PORTO)
    between = geometric_median([PORTO, LISBON])
    assert total(between, [PORTO, LISBON]) == pytest.approx(distance_m(PORTO, LISBON))
    assert geometric_median([PORTO, PORTO, PORTO, LISBON]) == pytest.approx(PORTO, abs=1e-6)
    assert geometric_median([PORTO, PORTO, LISBON]) == pytest.approx(PORTO, abs=1e-6)


def test_the_date_line_and_the_poles_are_places_like_others() -> None:
    latitude, longitude = geometric_median([(0.0, 179.9), (0.0, -179.9), (0.1, 180.0)])
    assert abs(longitude) == pytest.approx(180, abs=1e-6)
    assert 0 < latitude < 0.1
    assert geometric_median([(89.0, 0.0), (89.0, 120.0), (89.0, -120.0)])[0] == pytest.approx(90, abs=1e-4)


def test_opposite_ends_of_the_earth_give_some_answer() -> None:
    assert geometric_median([(0.0, 0.0), (0.0, 180.0)]) in [(0.0, 0.0), (0.0, 180.0)]


def a_walk(count: int) -> list[LatLon]:
    chance, at, found = random.Random(3), PORTO, []
    for _ in range(count):
        at = (at[0] + chance.uniform(-1e-4, 2e-4), at[1] + chance.uniform(-1e-4, 2e-4))
        found.append(at)
    return found


@pytest.mark.parametrize("most", [2, 3, 50, 999])
def test_a_thinned_track_has_that_many_points_in_order_and_both_ends(most: int) -> None:
    walk = a_walk(1000)
    kept = thinned(walk, most)
    assert len(kept) == most
    assert kept == sorted(set(kept))
    assert (kept[0], kept[-1]) == (0, 999)


def test_few_points_all_stay() -> None:
    walk = a_walk(5)
    assert thinned(walk, 5) == thinned(walk, 99) == [0, 1, 2, 3, 4]
    assert thinned([], 3) == []
    assert thinned(walk, 1) == [4]
    assert thinned(walk, 0) == []


def test_what_goes_first_is_what_says_least() -> None:
    straight = [(0.0, n / 1000) for n in range(10)]
    corner = [*straight, *((n / 1000, 0.009) for n in range(1, 10))]
    assert thinned(corner, 3) == [0, 9, 18]
    there_and_back = [*straight, *((0.005, 0.009 - n / 1000) for n in range(10))]
    assert thinned(there_and_back, 4) == [0, 9, 10, 19]


def test_a_track_over_the_date_line_is_a_short_one() -> None:
    over = [(0.0, 179.98), (0.0, 179.99), (0.0, -180.0), (0.0, -179.99), (0.02, -179.99)]
    assert thinned(over, 3) == [0, 3, 4]
