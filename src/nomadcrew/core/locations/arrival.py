"""Detects arrivals, from positions as the members may see them, and each arrival once."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from nomadcrew.core.locations.geometry import distance_m
from nomadcrew.core.locations.model import DEFAULT_RADIUS_M, ArrivalState
from nomadcrew.core.locations.privacy import VisiblePosition

# A member leaves beyond this many radii: fixes scatter, and members walk around a meeting point.
LEAVES_AT = 2.0


class Destination(StrEnum):
    DESTINATION = "destination"
    MEETING_POINT = "meeting point"


class Change(Struct, frozen=True):
    """A member arrived at a place, or clearly left it."""

    place: Destination
    is_there: bool


def changes(shown: VisiblePosition, places: ArrivalState) -> Sequence[Change]:
    """The arrivals and departures by a position, given as the members may see it."""
    at = (shown.latitude, shown.longitude)
    candidates = [
        _change(Destination.DESTINATION, at, (*places.destination, DEFAULT_RADIUS_M), places.is_at_destination)
    ]
    if places.meeting_point is not None:
        candidates.append(_change(Destination.MEETING_POINT, at, places.meeting_point, places.is_at_meeting_point))
    return [change for change in candidates if change is not None]


def _change(
    place: Destination, at: tuple[float, float], centre: tuple[float, float, float], was_there: bool
) -> Change | None:
    latitude, longitude, radius_m = centre
    distance = distance_m(at, (latitude, longitude))
    is_there = distance <= (radius_m * LEAVES_AT if was_there else radius_m)
    return None if is_there == was_there else Change(place, is_there)
