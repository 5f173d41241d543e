"""The limits of a trip's fields."""

from datetime import date
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import TripId
from nomadcrew.core.trips import service
from nomadcrew.core.trips.model import InvalidDates, NewTrip, Status, TripChange
from tests.fakes import ANA, NOON, CountingIds, UnexpectedPort

TRIP = NewTrip("Porto", "", None, None, None, 41.15, -8.61, date(2027, 5, 1), date(2027, 5, 9), Status.PLANNING, "")

ZONES: Any = UnexpectedPort("time_zones")


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"name": ""}, Invalid),
        ({"name": " "}, Invalid),
        ({"name": "\u3164"}, Invalid),
        ({"name": "\u2800"}, Invalid),
        ({"name": "\ufe0f"}, Invalid),
        ({"name": "Porto\u202eotroP"}, Invalid),
        ({"description": "\u202dto\u202c"}, Invalid),
        ({"destination_name": "\u2067Porto"}, Invalid),
        ({"destination_address": "\u200b\u200b"}, Invalid),
        ({"name": "x" * (service.MAX_NAME + 1)}, Invalid),
        ({"background_image_url": "x" * (service.MAX_IMAGE_URL + 1)}, Invalid),
        ({"destination_latitude": 90.1}, Invalid),
        ({"timezone": "Europe/Porto"}, Invalid),
        ({"timezone": "../etc/passwd"}, Invalid),
        ({"timezone": "Europe/Lisboað"}, Invalid),
        ({"end_date": date(2027, 4, 30)}, InvalidDates),
    ],
)
async def test_an_invalid_trip_is_refused_before_it_is_stored(
    fields: dict[str, Any], refusal: type[Invalid]
) -> None:
    trips: Any = UnexpectedPort("trips")
    with pytest.raises(refusal):
        await service.create_trip(
            replace(TRIP, **fields),
            ANA,
            trips=trips,
            time_zones=ZONES,
            new_id=CountingIds(),
            now=NOON,
            fingerprint=b"",
        )


@pytest.mark.parametrize("name", ["  ", "\u3164", "\u2800", "\ufe0f\u200b", "a\u202eb"])
async def test_a_trip_keeps_a_name_that_shows_something(name: str) -> None:
    trips: Any = UnexpectedPort("trips")
    with pytest.raises(Invalid):
        await service.change_trip(
            TripId(UUID(int=1)),
            TripChange(name=name),
            ANA,
            trips=trips,
            time_zones=ZONES,
            new_id=CountingIds(),
            now=NOON,
        )
