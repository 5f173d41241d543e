"""The fair meeting point: the geometric median of positions on a sphere, in WGS-84 decimal degrees."""

import math
from collections import Counter
from collections.abc import Sequence

from nomadcrew.core.locations.geometry import LatLon

Vector = tuple[float, float, float]
Place = tuple[Vector, int]  # and the number of people there

# Bounds of one request's work: of rounds, and of rounds times places. A hundred places take some 8 ms.
_ROUNDS = 200
_WORK = 6_000
_CLOSE_RAD = 1e-9  # six millimetres
_ENOUGH_RAD = 1e-8  # six centimetres: the step at which the search ends


def geometric_median(points: Sequence[LatLon]) -> LatLon:
    """The geometric median: the point with the least sum of distances to all points.

    Weiszfeld's iteration on the sphere: unit vectors are mapped to the tangent plane at the estimate, a step is
    taken there, and the result is mapped back. An estimate at one of the points moves on only if the pull of the
    others exceeds that point's weight.

    Args:
        points: one or more (latitude, longitude) pairs. Antipodal points have no unique median; one of them is
            returned.

    Returns:
        A point whose sum of distances exceeds the least one by less than a hundred-thousandth.

    Sources: P. T. Fletcher, S. Venkatasubramanian, S. Joshi, NeuroImage 45 (2009), S143; for an estimate at one of
    the points, Y. Vardi, C.-H. Zhang, PNAS 97 (2000), 1423.
    """
    places = [(_vector(point), count) for point, count in Counter(points).items()]
    estimate = _middle(places)
    for _ in range(min(_ROUNDS, _WORK // len(places))):
        step = _step(estimate, places)
        if math.hypot(*step) < _ENOUGH_RAD:
            break
        estimate = _walk(estimate, step)
    best, least = estimate, _total(estimate, places, math.inf)
    for vector, _ in places:
        total = _total(vector, places, least)
        if total < least:
            best, least = vector, total
    return _lat_lon(best)


def _vector(point: LatLon) -> Vector:
    latitude, longitude = math.radians(point[0]), math.radians(point[1])
    return (
        math.cos(latitude) * math.cos(longitude),
        math.cos(latitude) * math.sin(longitude),
        math.sin(latitude),
    )


def _lat_lon(vector: Vector) -> LatLon:
    x, y, z = vector
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def _middle(places: Sequence[Place]) -> Vector:
    x = sum(vector[0] * count for vector, count in places)
    y = sum(vector[1] * count for vector, count in places)
    z = sum(vector[2] * count for vector, count in places)
    length = math.hypot(x, y, z)
    return (x / length, y / length, z / length) if length > 1e-12 else places[0][0]


def _total(at: Vector, places: Sequence[Place], limit: float) -> float:
    """The sum of the angles from a point to all places, in radians; any number above `limit` if it exceeds that."""
    x, y, z = at
    total = 0.0
    for (a, b, c), count in places:
        chord = math.sqrt((a - x) * (a - x) + (b - y) * (b - y) + (c - z) * (c - z))
        total += 2 * math.asin(min(1.0, chord / 2)) * count
        if total > limit:
            break
    return total


def _step(estimate: Vector, places: Sequence[Place]) -> Vector:
    """The next step from `estimate`, in radians; zero at the median."""
    x, y, z = estimate
    pull_x = pull_y = pull_z = weight = 0.0
    held = 0
    for (a, b, c), count in places:
        cosine = a * x + b * y + c * z
        # The part perpendicular to the estimate, which points along the great circle; its length is the sine.
        u, v, w = a - cosine * x, b - cosine * y, c - cosine * z
        sine = math.sqrt(u * u + v * v + w * w)
        if sine < _CLOSE_RAD:
            held += count if cosine > 0 else 0  # the opposite point pulls in no direction
            continue
        weight += count / math.atan2(sine, cosine)
        part = count / sine
        pull_x += u * part
        pull_y += v * part
        pull_z += w * part
    strength = math.hypot(pull_x, pull_y, pull_z)
    if strength <= held or not weight:
        return (0.0, 0.0, 0.0)
    share = (1 - held / strength) / weight
    return (pull_x * share, pull_y * share, pull_z * share)


def _walk(estimate: Vector, step: Vector) -> Vector:
    """The point that a step, perpendicular to `estimate`, leads to along the great circle."""
    length = math.hypot(*step)
    cosine, sine = math.cos(length), math.sin(length) / length
    x, y, z = (cosine * at + sine * by for at, by in zip(estimate, step, strict=True))
    size = math.hypot(x, y, z)
    return (x / size, y / size, z / size)
