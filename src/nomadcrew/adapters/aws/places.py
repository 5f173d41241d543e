"""Places from Amazon Location Service.

Source: https://docs.aws.amazon.com/location/latest/APIReference/API_Operations_Amazon_Location_Service_Places_V2.html

Suggestions are for display only: the service is asked for single use, and nothing here stores them. A place at
coordinates becomes the destination of a trip, so it is asked for with the right to store it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.places.model import MAX_REVERSE_KM, Coordinates, FoundPlaces, Place, PlacesUnavailable

TIMEOUT_S = 2.0
LANGUAGE = "en"


class _Country(Struct, rename="pascal"):
    code2: str | None = None


class _Address(Struct, rename="pascal"):
    label: str = ""
    country: _Country | None = None


class _TimeZone(Struct, rename="pascal"):
    name: str


class _Found(Struct, rename="pascal"):
    """A place in a response; `position` is longitude and latitude, `distance` in metres."""

    place_id: str
    position: tuple[float, float]
    title: str = ""
    address: _Address | None = None
    time_zone: _TimeZone | None = None
    distance: float | None = None


class _Suggested(Struct, rename="pascal"):
    """A suggestion: a place, or a query that leads to places and has none itself."""

    title: str
    place: dict[str, Any] | None = None


class _Suggestions(Struct, rename="pascal"):
    result_items: list[_Suggested] = []


class _Reversed(Struct, rename="pascal"):
    result_items: list[_Found] = []


class AmazonPlaces:
    """`Places` through `geo-places`."""

    def __init__(self, client: AwsClient) -> None:
        self._client = client

    async def suggest(self, text: str, *, near: Coordinates | None, limit: int) -> FoundPlaces:
        body: dict[str, Any] = {
            "QueryText": text,
            "MaxResults": limit,
            "Language": LANGUAGE,
            "AdditionalFeatures": ["Core", "TimeZone"],
            "IntendedUse": "SingleUse",
        }
        if near is not None:
            body["BiasPosition"] = [near.longitude, near.latitude]
        answer = await self._ask("/v2/suggest", body, _Suggestions)
        found = [_suggested(item) for item in answer.result_items if item.place is not None]
        return FoundPlaces([place for place in found if place is not None], None)

    async def reverse(self, at: Coordinates) -> FoundPlaces:
        body = {
            "QueryPosition": [at.longitude, at.latitude],
            "QueryRadius": MAX_REVERSE_KM * 1_000,
            "MaxResults": 1,
            "Filter": {"IncludePlaceTypes": ["Locality"]},
            "Language": LANGUAGE,
            "AdditionalFeatures": ["TimeZone"],
            "IntendedUse": "Storage",
        }
        answer = await self._ask("/v2/reverse-geocode", body, _Reversed)
        return FoundPlaces([_place(found, found.title) for found in answer.result_items], None)

    async def _ask(self, path: str, body: Mapping[str, Any], reply: type[Any]) -> Any:
        try:
            answer, _ = await self._client.request("POST", path, body, timeout_s=TIMEOUT_S)
            return msgspec.json.decode(answer, type=reply)
        except AwsError as refused:
            raise PlacesUnavailable(details=f"places: {refused.code}") from None
        except Unavailable as outage:
            raise PlacesUnavailable(details=outage.details) from None
        except msgspec.MsgspecError as error:
            raise PlacesUnavailable(details=f"places: {type(error).__name__}") from None


def _suggested(item: _Suggested) -> Place | None:
    """The place of a suggestion; None for one without coordinates."""
    try:
        return _place(msgspec.convert(item.place, _Found), item.title)
    except msgspec.ValidationError:
        return None


def _place(found: _Found, title: str) -> Place:
    longitude, latitude = found.position
    address = found.address or _Address()
    label = address.label or title
    return Place(
        id=f"amazon:{found.place_id}",
        name=title.partition(",")[0],
        address=label,
        country_code=None if address.country is None else address.country.code2,
        at=Coordinates(latitude, longitude),
        timezone=None if found.time_zone is None else found.time_zone.name,
        distance_km=None if found.distance is None else round(found.distance / 1_000, 1),
    )
