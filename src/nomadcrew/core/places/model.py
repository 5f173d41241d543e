"""A place: a town or another destination, with its coordinates."""

from collections.abc import Sequence

from msgspec import Struct

from nomadcrew.core.errors import Unavailable

MIN_QUERY = 2
MAX_QUERY = 100
MAX_PLACES = 20
DEFAULT_PLACES = 10
# Beyond this distance from all places, coordinates are nowhere.
MAX_REVERSE_KM = 100


class Coordinates(Struct, frozen=True):
    """WGS-84 decimal degrees."""

    latitude: float
    longitude: float


class Place(Struct, frozen=True):
    """A place. `id` names its source too, such as `geonames:2735943`; `country_code` is ISO 3166-1 alpha-2."""

    id: str
    name: str
    address: str
    country_code: str | None
    at: Coordinates
    timezone: str | None
    distance_km: float | None = None


class FoundPlaces(Struct, frozen=True):
    """Places, best first, and the credit that a client must show beside them, if there is one."""

    places: Sequence[Place]
    attribution: str | None


class PlacesUnavailable(Unavailable):
    code = "places_unavailable"
    text = "The list of places does not answer. Try again in a moment."
    retry_after_s = 5


class PlacesOff(PlacesUnavailable):
    code = "places_off"
    text = "This server has no list of places. Its operator can turn it on."
    retry_after_s = 3600
