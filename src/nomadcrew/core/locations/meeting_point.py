"""The fair meeting point: the geometric median of positions on a sphere, in WGS-84 decimal degrees."""

import math
from collections.abc import Sequence

from nomadcrew.core.locations.geometry import LatLon

Vector = tuple[float, float, float]

_ROUNDS = 200
_CLOSE_RAD = 1e-9  # six millimetres


def geometric_median(points: Sequence[LatLon]) -> LatLon:
    """The geometric median: the point with the least sum of distances to all points.

    Weiszfeld's iteration on the sphere: unit vectors are mapped to the tangent plane at the estimate, a step is
    taken there, and the result is mapped back. An estimate at one of the points moves on only if the pull of the
    others exceeds that point's weight.

    Args:
        points: one or more (latitude, longitude) pairs. Antipodal points have no unique median; one of them is
            returned.

    Sources: P. T. Fletcher, S. Venkatasubramanian, S. Joshi, NeuroImage 45 (2009), S143; for an estimate at one of
    the points, Y. Vardi, C.-H. Zhang, PNAS 97 (2000), 1423.
    """
    vectors = [_vector(point) for point in points]
    estimate = _middle(vectors)
    for _ in range(_ROUNDS):  # pragma: no branch — it converges before
        step = _step(estimate, vectors)
        if math.hypot(*step) < _CLOSE_RAD:
            break
        estimate = _walk(estimate, step)
    best = min((estimate, *vectors), key=lambda at: sum(_angle(at, vector) for vector in vectors))
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


def _middle(vectors: Sequence[Vector]) -> Vector:
    x, y, z = (sum(axis) for axis in zip(*vectors, strict=True))
    length = math.hypot(x, y, z)
    return (x / length, y / length, z / length) if length > 1e-12 else vectors[0]


def _angle(a: Vector, b: Vector) -> float:
    cross = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    return math.atan2(math.hypot(*cross), a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


def _towards(estimate: Vector, target: Vector, angle: float) -> Vector:
    """The unit vector at `estimate` that points to `target` along the great circle."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return (
        (target[0] - cosine * estimate[0]) / sine,
        (target[1] - cosine * estimate[1]) / sine,
        (target[2] - cosine * estimate[2]) / sine,
    )


def _step(estimate: Vector, vectors: Sequence[Vector]) -> Vector:
    """The next step from `estimate`, in radians; zero at the median."""
    pull, weight, held = [0.0, 0.0, 0.0], 0.0, 0
    for vector in vectors:
        angle = _angle(estimate, vector)
        if angle < _CLOSE_RAD:
            held += 1
        elif math.pi - angle > _CLOSE_RAD:
            weight += 1 / angle
            for axis, part in enumerate(_towards(estimate, vector, angle)):
                pull[axis] += part
    strength = math.hypot(*pull)
    if strength <= held or not weight:
        return (0.0, 0.0, 0.0)
    share = (1 - held / strength) / weight
    return (pull[0] * share, pull[1] * share, pull[2] * share)


def _walk(estimate: Vector, step: Vector) -> Vector:
    """The point that a step, perpendicular to `estimate`, leads to along the great circle."""
    length = math.hypot(*step)
    cosine, sine = math.cos(length), math.sin(length) / length
    x, y, z = (cosine * at + sine * by for at, by in zip(estimate, step, strict=True))
    size = math.hypot(x, y, z)
    return (x / size, y / size, z / size)
