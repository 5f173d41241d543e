"""`TripStatuses` over every driver."""

from datetime import timedelta

import pytest

from nomadcrew.adapters.postgres.trip_statuses import PostgresTripStatuses
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Command
from nomadcrew.core.ids import EventId, TripId, uuid7
from nomadcrew.core.permissions import OWNER
from nomadcrew.core.trips.model import Status
from nomadcrew.core.trips.statuses import StatusChange
from tests.contract.trip_database import TripDb
from tests.fakes import NOON

DAY = timedelta(days=1)


@pytest.fixture
def statuses(db: TripDb) -> PostgresTripStatuses:
    return PostgresTripStatuses(db.pool)


def a_change(trip: TripId, old: Status, new: Status) -> StatusChange:
    return StatusChange(trip, old, new, EventId(uuid7()))


async def test_an_open_trip_is_found_around_its_days(db: TripDb, statuses: PostgresTripStatuses) -> None:
    new = await db.new_trip(await db.user("ana"))
    trip, first, last = new.id, new.start_date, new.end_date
    found = {
        today: [item.id for item in await statuses.open_trips(today=today, after=None, limit=5)]
        for today in (first - 2 * DAY, first - DAY, last + DAY, last + 2 * DAY)
    }
    assert list(found.values()) == [[], [trip], [trip], []]
    await statuses.advance([a_change(trip, Status.PLANNING, Status.ACTIVE)], now=NOON)
    assert await statuses.open_trips(today=last - DAY, after=None, limit=5) == []
    [active] = await statuses.open_trips(today=last + 30 * DAY, after=None, limit=5)
    assert (active.id, active.status) == (trip, Status.ACTIVE)
    assert await statuses.open_trips(today=last + 30 * DAY, after=trip, limit=5) == []


async def test_a_status_advances_once_with_its_event(db: TripDb, statuses: PostgresTripStatuses) -> None:
    trip = await db.trip(await db.user("ana"))
    change = a_change(trip, Status.PLANNING, Status.ACTIVE)
    assert [await statuses.advance([change], now=NOON) for _ in range(2)] == [1, 0]
    event = (await db.events())[-1]
    assert (event["type"], event["actor"], event["audience"]) == ("TRIP_STATUS_UPDATED", None, "trip")
    assert (
        event["payload"].items() >= {"old_status": "PLANNING", "status": "ACTIVE", "new_status": "ACTIVE"}.items()
    )


async def test_a_deleted_trip_stays(db: TripDb, statuses: PostgresTripStatuses) -> None:
    ana = await db.user("ana")
    new = await db.new_trip(ana)
    trip = new.id
    await PostgresTrips(db.pool).delete(Command(trip, ana, OWNER, EventId(uuid7()), NOON))
    assert await statuses.open_trips(today=new.start_date, after=None, limit=5) == []
    assert await statuses.advance([a_change(trip, Status.PLANNING, Status.ACTIVE)], now=NOON) == 0
