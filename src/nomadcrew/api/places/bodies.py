"""Bodies of the routes of places."""

from msgspec import Struct

from nomadcrew.core.places.model import FoundPlaces, Place


class PlaceView(Struct, rename="camel", omit_defaults=True):
    """A place. The names of its fields are those of a trip's destination, without the prefix."""

    place_id: str
    name: str
    address: str
    latitude: float
    longitude: float
    country_code: str | None = None
    timezone: str | None = None
    distance_km: float | None = None


class PlacesView(Struct, omit_defaults=True):
    """Places, best first. A client must show `attribution` beside them."""

    places: list[PlaceView]
    attribution: str | None = None


def places_view(found: FoundPlaces) -> PlacesView:
    return PlacesView([_view(place) for place in found.places], found.attribution)


def _view(place: Place) -> PlaceView:
    return PlaceView(
        place.id, place.name, place.address, place.at.latitude, place.at.longitude, place.country_code,
        place.timezone, place.distance_km,
    )  # fmt: skip
