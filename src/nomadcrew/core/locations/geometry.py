"""Distances and thinned tracks. Coordinates are WGS-84 decimal degrees, on a sphere."""

import heapq
import math
from collections.abc import Sequence

LatLon = tuple[float, float]

EARTH_RADIUS_M = 6_371_008.8  # the mean radius of the WGS-84 ellipsoid


def distance_m(a: LatLon, b: LatLon) -> float:
    """Metres along the great circle from (latitude, longitude) `a` to `b`; within 0.5 % of the ellipsoid.

    Source: haversine formula, R. W. Sinnott, Sky & Telescope 68 (1984), 159.
    """
    latitude_1, latitude_2 = math.radians(a[0]), math.radians(b[0])
    half = (
        math.sin((latitude_2 - latitude_1) / 2) ** 2
        + math.cos(latitude_1) * math.cos(latitude_2) * math.sin(math.radians(b[1] - a[1]) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(half)))


def thinned(points: Sequence[LatLon], max_points: int) -> list[int]:
    """The indexes of at most `max_points` points that preserve the shape of the track, in ascending order.

    The point with the smallest triangle between its neighbours is removed first; both ends are retained.

    Source: M. Visvalingam, J. D. Whyatt, The Cartographic Journal 30 (1993), 46.
    """
    count = len(points)
    if count <= max_points:
        return list(range(count))
    if max_points < 2:
        return [count - 1][:max_points]
    flat = _flat(points)
    before, after = list(range(-1, count - 1)), list(range(1, count + 1))
    area = [math.inf] * count
    for at in range(1, count - 1):
        area[at] = _triangle(flat[at - 1], flat[at], flat[at + 1])
    heap = [(area[at], at) for at in range(1, count - 1)]
    heapq.heapify(heap)
    removed: set[int] = set()
    while count - len(removed) > max_points:
        size, at = heapq.heappop(heap)
        if at in removed or size != area[at]:
            continue
        removed.add(at)
        left, right = before[at], after[at]
        after[left], before[right] = right, left
        for neighbour in (left, right):
            if 0 < neighbour < count - 1:
                # At least the area of the removed point; otherwise a spike would be removed from its sides.
                triangle = _triangle(flat[before[neighbour]], flat[neighbour], flat[after[neighbour]])
                area[neighbour] = max(size, triangle)
                heapq.heappush(heap, (area[neighbour], neighbour))
    return [at for at in range(count) if at not in removed]


def _flat(points: Sequence[LatLon]) -> list[LatLon]:
    """The points on a plane with undistorted areas. Steps across the date line remain short."""
    flat, longitude = [], points[0][1]
    shrink = math.cos(math.radians(points[0][0]))
    for latitude, at in points:
        longitude += (at - longitude + 180) % 360 - 180
        flat.append((longitude * shrink, latitude))
    return flat


def _triangle(a: LatLon, b: LatLon, c: LatLon) -> float:
    return abs((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])) / 2
