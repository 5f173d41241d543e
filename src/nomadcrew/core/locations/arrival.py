"""When somebody has arrived: as exactly as the crew may see them, and once."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nomadcrew.core.locations.geometry import distance_m
from nomadcrew.core.locations.model import DEFAULT_RADIUS_M, Places
from nomadcrew.core.locations.privacy import Seen

# Whoever is no farther than this many radii has not left: fixes wander, and people do around a meeting point.
LEAVES_AT = 2.0


class Place(StrEnum):
    DESTINATION = "destination"
    MEETING_POINT = "meeting point"


@dataclass(frozen=True, slots=True)
class Change:
    """That somebody came to a place, or is clearly away from it again."""

    place: Place
    is_there: bool


def changes(shown: Seen, places: Places) -> Sequence[Change]:
    """What `shown`, which is all that the crew may know, changes about where somebody is."""
    at = (shown.latitude, shown.longitude)
    found = [_change(Place.DESTINATION, at, (*places.destination, DEFAULT_RADIUS_M), places.is_at_destination)]
    if places.meeting_point is not None:
        found.append(_change(Place.MEETING_POINT, at, places.meeting_point, places.is_at_meeting_point))
    return [change for change in found if change is not None]


def _change(
    place: Place, at: tuple[float, float], centre: tuple[float, float, float], was_there: bool
) -> Change | None:
    latitude, longitude, radius_m = centre
    away_m = distance_m(at, (latitude, longitude))
    is_there = away_m <= (radius_m * LEAVES_AT if was_there else radius_m)
    return None if is_there == was_there else Change(place, is_there)
