"""Distances, the geometric median, and thinned tracks. Coordinates are WGS-84 decimal degrees, on a sphere."""

import heapq
import math
from collections.abc import Sequence

LatLon = tuple[float, float]
Vector = tuple[float, float, float]

EARTH_RADIUS_M = 6_371_008.8  # the mean radius of the WGS-84 ellipsoid
_ROUNDS = 200
_CLOSE_RAD = 1e-9  # six millimetres


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


def geometric_median(places: Sequence[LatLon]) -> LatLon:
    """The geometric median: the point with the least sum of distances to all places.

    Weiszfeld's iteration on the sphere: unit vectors are mapped to the tangent plane at the estimate, a step is
    taken there, and the result is mapped back. An estimate at one of the places moves on only if the pull of the
    others exceeds that place's weight.

    Args:
        places: one or more (latitude, longitude) pairs. Antipodal places have no unique median; one of them is
            returned.

    Sources: P. T. Fletcher, S. Venkatasubramanian, S. Joshi, NeuroImage 45 (2009), S143; for an estimate at one of
    the places, Y. Vardi, C.-H. Zhang, PNAS 97 (2000), 1423.
    """
    vectors = [_vector(place) for place in places]
    here = _middle(vectors)
    for _ in range(_ROUNDS):
        step = _step(here, vectors)
        if math.hypot(*step) < _CLOSE_RAD:
            break
        here = _walk(here, step)
    best = min((here, *vectors), key=lambda at: sum(_angle(at, vector) for vector in vectors))
    return _place(best)


def thinned(places: Sequence[LatLon], max_points: int) -> list[int]:
    """The indexes of at most `most` places that preserve the shape of the track, in ascending order.

    The place with the smallest triangle between its neighbours is removed first; both ends are retained.

    Source: M. Visvalingam, J. D. Whyatt, The Cartographic Journal 30 (1993), 46.
    """
    count = len(places)
    if count <= max_points:
        return list(range(count))
    if max_points < 2:
        return [count - 1][:max_points]
    flat = _flat(places)
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
                # At least the area of the removed place; otherwise a spike would be removed from its sides.
                triangle = _triangle(flat[before[neighbour]], flat[neighbour], flat[after[neighbour]])
                area[neighbour] = max(size, triangle)
                heapq.heappush(heap, (area[neighbour], neighbour))
    return [at for at in range(count) if at not in removed]


def _flat(places: Sequence[LatLon]) -> list[LatLon]:
    """The places on a plane with undistorted areas. Steps across the date line remain short."""
    flat, longitude = [], places[0][1]
    shrink = math.cos(math.radians(places[0][0]))
    for latitude, at in places:
        longitude += (at - longitude + 180) % 360 - 180
        flat.append((longitude * shrink, latitude))
    return flat


def _triangle(a: LatLon, b: LatLon, c: LatLon) -> float:
    return abs((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])) / 2


def _vector(place: LatLon) -> Vector:
    latitude, longitude = math.radians(place[0]), math.radians(place[1])
    return (
        math.cos(latitude) * math.cos(longitude),
        math.cos(latitude) * math.sin(longitude),
        math.sin(latitude),
    )


def _place(vector: Vector) -> LatLon:
    x, y, z = vector
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def _middle(vectors: Sequence[Vector]) -> Vector:
    x, y, z = (sum(axis) for axis in zip(*vectors, strict=True))
    length = math.hypot(x, y, z)
    return (x / length, y / length, z / length) if length > 1e-12 else vectors[0]


def _angle(a: Vector, b: Vector) -> float:
    cross = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    return math.atan2(math.hypot(*cross), a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


def _towards(here: Vector, there: Vector, angle: float) -> Vector:
    """The unit vector at `here` that points to `there` along the great circle."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return (
        (there[0] - cosine * here[0]) / sine,
        (there[1] - cosine * here[1]) / sine,
        (there[2] - cosine * here[2]) / sine,
    )


def _step(here: Vector, vectors: Sequence[Vector]) -> Vector:
    """The next step from `here`, in radians; zero at the median."""
    pull, weight, held = [0.0, 0.0, 0.0], 0.0, 0
    for vector in vectors:
        angle = _angle(here, vector)
        if angle < _CLOSE_RAD:
            held += 1
        elif math.pi - angle > _CLOSE_RAD:
            weight += 1 / angle
            for axis, part in enumerate(_towards(here, vector, angle)):
                pull[axis] += part
    strength = math.hypot(*pull)
    if strength <= held or not weight:
        return (0.0, 0.0, 0.0)
    share = (1 - held / strength) / weight
    return (pull[0] * share, pull[1] * share, pull[2] * share)


def _walk(here: Vector, step: Vector) -> Vector:
    """The point that a step, perpendicular to `here`, leads to along the great circle."""
    length = math.hypot(*step)
    cosine, sine = math.cos(length), math.sin(length) / length
    x, y, z = (cosine * at + sine * by for at, by in zip(here, step, strict=True))
    size = math.hypot(x, y, z)
    return (x / size, y / size, z / size)
