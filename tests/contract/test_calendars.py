"""`Calendars` over every driver."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from nomadcrew.adapters.postgres.calendars import PostgresCalendars
from nomadcrew.adapters.postgres.todos import PostgresTodos
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Command
from nomadcrew.core.calendars.model import MAX_CALENDARS, Calendar, CalendarNotFound, TooManyCalendars
from nomadcrew.core.errors import NotOnboarded, NotTripMember
from nomadcrew.core.ids import CalendarId, EventId, TodoId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER, OWNER
from nomadcrew.core.todos.model import Todo
from tests.contract.trip_database import TripDb
from tests.fakes import NOON


@pytest.fixture
def calendars(db: TripDb) -> PostgresCalendars:
    return PostgresCalendars(db.pool)


async def add(
    calendars: PostgresCalendars,
    user: UserId,
    trip: TripId | None = None,
    *,
    trips: bool = True,
    todos: bool = True,
) -> Calendar:
    return await calendars.add(
        user, CalendarId(uuid7()), trip, min_rank=MEMBER.min_rank, has_trips=trips, has_todos=todos, now=NOON
    )


async def todo(db: TripDb, trip: TripId, by: UserId, text: str, *, is_due: bool = True) -> None:
    due_at = NOON + timedelta(days=1) if is_due else None
    new = Todo(TodoId(uuid7()), trip, text, "INCOMPLETE", by, NOON, NOON, None, due_at)
    await PostgresTodos(db.pool).add(new, MEMBER, EventId(uuid7()), now=NOON, fingerprint=uuid7().bytes)


async def test_a_calendar_of_all_trips_has_those_of_its_user(db: TripDb, calendars: PostgresCalendars) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    own, common, foreign = await db.trip(ana), await db.trip(ben), await db.trip(ben)
    await db.join(common, ana, ben)
    for trip, by in ((own, ana), (common, ben), (foreign, ben)):
        await todo(db, trip, by, str(trip))
    await todo(db, own, ana, "without a due time", is_due=False)
    calendar = await add(calendars, ana)
    assert (calendar.trip_id, calendar.trip_name, calendar.created_at) == (None, None, NOON)
    entries = await calendars.entries(calendar.id)
    assert entries.name is None
    assert {trip.id for trip in entries.trips} == {own, common}
    assert {entry.text for entry in entries.todos} == {str(own), str(common)}


async def test_a_calendar_of_one_trip_has_the_chosen_parts_of_it(db: TripDb, calendars: PostgresCalendars) -> None:
    ana = await db.user("ana")
    trip, _ = await db.trip(ana), await db.trip(ana)
    await todo(db, trip, ana, "pack")
    only_trips = await calendars.entries((await add(calendars, ana, trip, todos=False)).id)
    only_todos = await calendars.entries((await add(calendars, ana, trip, trips=False)).id)
    assert ([entry.id for entry in only_trips.trips], only_trips.todos) == ([trip], [])
    assert (only_todos.trips, [entry.text for entry in only_todos.todos]) == ([], ["pack"])
    assert only_trips.name == only_todos.name == only_trips.trips[0].name


async def test_a_user_who_left_or_whose_trip_was_deleted_reads_nothing_of_it(
    db: TripDb, calendars: PostgresCalendars
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    left, deleted = await db.trip(ana), await db.trip(ana)
    await todo(db, left, ana, "secret")
    await db.join(left, ben, ana)
    calendar, all_trips = await add(calendars, ben, left), await add(calendars, ben)
    await db.leave(left, ben, ana)
    of_deleted = await add(calendars, ana, deleted)
    await PostgresTrips(db.pool).delete(Command(deleted, ana, OWNER, EventId(uuid7()), NOON))
    for id_ in (calendar.id, all_trips.id, of_deleted.id):
        entries = await calendars.entries(id_)
        assert (entries.name, entries.trips, entries.todos) == (None, [], [])
    assert {item.trip_name for item in await calendars.of(ben)} == {None}


async def test_the_same_calendar_is_created_once(db: TripDb, calendars: PostgresCalendars) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    same = await asyncio.gather(*(add(calendars, ana, trip) for _ in range(5)))
    everything = await asyncio.gather(*(add(calendars, ana) for _ in range(5)))
    assert {item.id for item in same} | {item.id for item in everything} == {
        item.id for item in await calendars.of(ana)
    }
    assert len(await calendars.of(ana)) == 2


async def test_a_user_has_a_bounded_number_of_calendars(db: TripDb, calendars: PostgresCalendars) -> None:
    ana = await db.user("ana")
    trips = [await db.trip(ana) for _ in range(MAX_CALENDARS + 3)]
    made = await asyncio.gather(*(add(calendars, ana, trip) for trip in trips), return_exceptions=True)
    stored = [item for item in made if isinstance(item, Calendar)]
    assert len(stored) == MAX_CALENDARS
    assert {type(item) for item in made if not isinstance(item, Calendar)} == {TooManyCalendars}
    again = await add(calendars, ana, stored[0].trip_id)
    assert again.id == stored[0].id


async def test_only_its_user_deletes_a_calendar(db: TripDb, calendars: PostgresCalendars) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    calendar = await add(calendars, ana)
    await calendars.delete(ben, calendar.id)
    assert await calendars.of(ana) == [calendar]
    for _ in range(2):
        await calendars.delete(ana, calendar.id)
    assert await calendars.of(ana) == []
    with pytest.raises(CalendarNotFound):
        await calendars.entries(calendar.id)


async def test_outsiders_cannot_create_a_calendar(db: TripDb, calendars: PostgresCalendars) -> None:
    ana, eve = await db.user("ana"), await db.user("eve")
    trip = await db.trip(ana)
    with pytest.raises(NotTripMember):
        await add(calendars, eve, trip)
    stranger = UserId(uuid4())
    for attempt in (
        add(calendars, stranger),
        calendars.of(stranger),
        calendars.delete(stranger, CalendarId(uuid4())),
    ):
        with pytest.raises(NotOnboarded):
            await attempt
    assert await calendars.of(eve) == []
