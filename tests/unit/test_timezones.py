"""Time zones of destinations, and the days there."""

from datetime import UTC, date, datetime
from typing import Any, cast
from uuid import UUID

import pytest
from msgspec.structs import replace

from nomadcrew.adapters.time_zones import TzfTimeZones
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import TripId
from nomadcrew.core.timezones import check_timezone, instant, local_day, zone_named
from nomadcrew.core.trips import service
from nomadcrew.core.trips.model import NewTrip, Status, Trip, TripChange
from nomadcrew.core.trips.ports import Trips
from tests.fakes import ANA, NOON, CountingIds, UnexpectedPort

TRIP = NewTrip("Porto", "", None, None, None, 41.15, -8.61, date(2027, 5, 1), date(2027, 5, 9), Status.PLANNING, "")
TRIP_ID = TripId(UUID(int=1))


@pytest.mark.parametrize(
    ("latitude", "longitude", "name"),
    [
        (41.15, -8.61, "Europe/Lisbon"),
        (27.7, 85.32, "Asia/Kathmandu"),
        (1.87, -157.4, "Pacific/Kiritimati"),
        (-16.8, 179.98, "Pacific/Fiji"),  # both sides of the date line
        (-16.8, -179.98, "Pacific/Fiji"),
        (-13.83, -171.77, "Pacific/Apia"),
        (0.0, -180.0, "Etc/GMT+12"),
        (0.0, 180.0, "Etc/GMT-12"),
        (-90.0, 0.0, "Antarctica/McMurdo"),
    ],
)
def test_coordinates_have_a_time_zone(latitude: float, longitude: float, name: str) -> None:
    assert TzfTimeZones().at(latitude, longitude) == name


def test_every_time_zone_of_a_destination_is_known_to_python() -> None:
    from tzfpy import timezonenames

    names = timezonenames()
    assert len(names) > 400
    for name in names:
        check_timezone(name)


@pytest.mark.parametrize(
    ("timezone", "before", "after"),
    [
        ("Europe/Lisbon", "2026-03-28T23:59:59Z", "2026-03-29T00:00:00Z"),  # a day of 23 hours begins
        ("Europe/Lisbon", "2026-03-29T22:59:59Z", "2026-03-29T23:00:00Z"),
        ("Europe/Lisbon", "2026-10-24T22:59:59Z", "2026-10-24T23:00:00Z"),  # a day of 25 hours begins
        ("Europe/Lisbon", "2026-10-25T23:59:59Z", "2026-10-26T00:00:00Z"),
        ("America/New_York", "2026-03-08T04:59:59Z", "2026-03-08T05:00:00Z"),
        ("America/New_York", "2026-11-02T04:59:59Z", "2026-11-02T05:00:00Z"),
        ("Asia/Kathmandu", "2026-07-01T18:14:59Z", "2026-07-01T18:15:00Z"),
        ("Pacific/Kiritimati", "2026-07-01T09:59:59Z", "2026-07-01T10:00:00Z"),
        ("Pacific/Fiji", "2026-07-01T11:59:59Z", "2026-07-01T12:00:00Z"),
    ],
)
def test_a_day_begins_at_midnight_of_its_time_zone(timezone: str, before: str, after: str) -> None:
    days = [local_day(datetime.fromisoformat(moment), timezone) for moment in (before, after)]
    assert (days[1] - days[0]).days == 1


def test_a_time_zone_that_moved_across_the_date_line_skipped_a_day() -> None:
    ends = (datetime(2011, 12, 30, 9, 59, tzinfo=UTC), datetime(2011, 12, 30, 10, 0, tzinfo=UTC))
    assert [local_day(end, "Pacific/Apia") for end in ends] == [date(2011, 12, 29), date(2011, 12, 31)]


@pytest.mark.parametrize(
    ("timezone", "local", "moment"),
    [
        ("Europe/Lisbon", "2026-07-01T06:10", "2026-07-01T05:10:00Z"),
        ("Europe/Lisbon", "2026-10-25T01:30", "2026-10-25T00:30:00Z"),  # comes twice
        ("Europe/Lisbon", "2026-03-29T01:30", "2026-03-29T01:30:00Z"),  # is skipped
        ("Asia/Kathmandu", "2026-07-01T05:15", "2026-06-30T23:30:00Z"),
        ("Pacific/Kiritimati", "2026-07-01T06:30", "2026-06-30T16:30:00Z"),
    ],
)
def test_a_local_time_is_a_moment(timezone: str, local: str, moment: str) -> None:
    assert instant(datetime.fromisoformat(local), timezone) == datetime.fromisoformat(moment)


@pytest.mark.parametrize("name", ["", "Europe/Porto", "../etc/passwd", "/etc/localtime", "x" * 65, "\u00fcmlaut"])
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_timezone(name)
    assert refused.value.code == "invalid_time_zone"


def test_a_time_zone_is_found_by_its_name() -> None:
    assert str(zone_named("Asia/Kathmandu")) == "Asia/Kathmandu"


class Recorder:
    """`Trips` that record what they are to store; a stored trip is at 10 degrees north and 20 degrees east."""

    def __init__(self) -> None:
        self.added: list[NewTrip] = []
        self.changes: list[TripChange] = []

    async def add(self, trip_id: object, membership_id: object, event_id: object, new: NewTrip, *_: object,
                  **__: object) -> Trip:  # fmt: skip
        self.added.append(new)
        return cast(Trip, None)

    async def get(self, access: object) -> Trip:
        fields: dict[str, Any] = dict.fromkeys(Trip.__struct_fields__)
        return Trip(**(fields | {"destination_latitude": 10.0, "destination_longitude": 20.0}))

    async def change(self, access: object, change: TripChange, **_: object) -> Trip:
        self.changes.append(change)
        return cast(Trip, None)


class ZonesByName:
    """`TimeZones` that name the coordinates."""

    def at(self, latitude: float, longitude: float) -> str:
        return f"at {latitude:g} {longitude:g}"


async def stored(new: NewTrip, time_zones: Any = None) -> str:
    trips = Recorder()
    await service.create_trip(
        new, ANA, trips=cast(Trips, trips), time_zones=time_zones or ZonesByName(), new_id=CountingIds(), now=NOON,
        fingerprint=b"",
    )  # fmt: skip
    return trips.added[0].timezone


async def changed(change: TripChange, time_zones: Any = None) -> TripChange:
    trips = Recorder()
    await service.change_trip(
        TRIP_ID, change, ANA, trips=cast(Trips, trips), time_zones=time_zones or ZonesByName(),
        new_id=CountingIds(), now=NOON,
    )  # fmt: skip
    return trips.changes[0]


async def test_a_new_trip_has_the_time_zone_of_its_destination() -> None:
    assert await stored(TRIP) == "at 41.15 -8.61"


async def test_a_new_trip_has_the_time_zone_that_its_creator_names() -> None:
    assert await stored(replace(TRIP, timezone="Asia/Tokyo"), UnexpectedPort("time_zones")) == "Asia/Tokyo"


async def test_a_new_trip_without_a_destination_has_utc() -> None:
    nowhere = replace(TRIP, destination_latitude=0.0, destination_longitude=0.0)
    assert await stored(nowhere, UnexpectedPort("time_zones")) == "UTC"


@pytest.mark.parametrize(
    ("coordinates", "name"),
    [
        ({"destination_latitude": 1.5, "destination_longitude": 2.0}, "at 1.5 2"),
        ({"destination_latitude": 1.5}, "at 1.5 20"),
        ({"destination_longitude": 2.0}, "at 10 2"),
        ({"destination_latitude": 0.0, "destination_longitude": 0.0}, "UTC"),
    ],
)
async def test_a_new_destination_brings_its_time_zone(coordinates: dict[str, float], name: str) -> None:
    assert (await changed(TripChange(**cast(Any, coordinates)))).destination_timezone == name


@pytest.mark.parametrize("change", [TripChange(name="Braga"), TripChange(timezone="Asia/Tokyo")])
async def test_a_change_elsewhere_looks_up_no_time_zone(change: TripChange) -> None:
    assert await changed(change, UnexpectedPort("time_zones")) == change


async def test_a_named_time_zone_wins_over_that_of_the_new_destination() -> None:
    change = TripChange(destination_latitude=1.5, destination_longitude=2.0, timezone="Asia/Tokyo")
    assert await changed(change, UnexpectedPort("time_zones")) == change
