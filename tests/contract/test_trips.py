"""`Trips` over every driver."""

import asyncio
import json
from datetime import date, timedelta
from uuid import UUID, uuid4

import pytest
from msgspec import structs
from msgspec.structs import replace

from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import Conflict, Forbidden, NotFound, NotOnboarded, NotTripMember
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.core.permissions import ADMIN, MEMBER, OWNER, Role
from nomadcrew.core.trips import model
from nomadcrew.core.trips.model import (
    InvalidDates,
    InvalidTransition,
    Status,
    Trip,
    TripCard,
    TripChange,
    TripSearch,
)
from tests.contract.trip_database import TripDb
from tests.fakes import NOON

ANY = TripSearch(None, None, None, None, limit=50, offset=0)


@pytest.fixture
def trips(db: TripDb) -> PostgresTrips:
    return PostgresTrips(db.pool)


async def change(
    trips: PostgresTrips, trip_id: TripId, caller: UserId, must_move: bool = False, **fields: object
) -> Trip:
    return await trips.change(
        Access(trip_id, caller, ADMIN),
        TripChange(**fields),  # type: ignore[arg-type]
        must_move=must_move,
        event_ids=(EventId(uuid7()), EventId(uuid7())),
        now=NOON + timedelta(hours=1),
    )


def members_on(card: TripCard) -> list[UserId]:
    return [UserId(UUID(member["userId"])) for member in json.loads(card.body)["members"]]


@pytest.mark.contract("rest-core.create-trip.owner", "permissions.creator")
async def test_a_new_trip_has_its_creator_as_owner_and_is_published(db: TripDb, trips: PostgresTrips) -> None:
    ana = await db.user("ana")
    made = await db.new_trip(ana)
    stored = await trips.get(Access(made.id, ana, MEMBER))
    assert stored == made
    assert [(m.user_id, m.role, m.name) for m in stored.members] == [(ana, "OWNER", "ana")]
    [event] = await db.events()
    assert event["type"] == "TRIP_CREATED"
    assert event["payload"]["tripName"] == event["payload"]["name"] == "Porto"
    assert event["payload"]["startDate"] == "2026-12-01T00:00:00Z"
    assert "destinationAddress" not in event["payload"]


@pytest.mark.contract("rest-core.create-trip.repeat")
async def test_a_repeat_within_the_window_returns_the_first_trip(db: TripDb, trips: PostgresTrips) -> None:
    ana = await db.user("ana")
    first = await db.new_trip(ana, fingerprint=b"same")
    again = await db.new_trip(ana, fingerprint=b"same")
    assert again == first
    later = await db.new_trip(ana, fingerprint=b"same", now=NOON + timedelta(seconds=31))
    assert later.id != first.id
    assert len((await trips.list_for_user(ana)).trips) == 2


@pytest.mark.contract("rest-core.create-trip.repeat")
async def test_concurrent_repeats_create_one_trip(db: TripDb, trips: PostgresTrips) -> None:
    ana = await db.user("ana")
    made = await asyncio.gather(*(db.new_trip(ana, fingerprint=b"same") for _ in range(8)))
    assert len({trip.id for trip in made}) == 1
    assert await db.types() == ["TRIP_CREATED"]


async def test_a_deleted_trip_may_be_created_again_at_once(db: TripDb, trips: PostgresTrips) -> None:
    ana = await db.user("ana")
    first = await db.new_trip(ana, fingerprint=b"same")
    await trips.delete(Command(first.id, ana, OWNER, EventId(uuid7()), NOON))
    assert (await db.new_trip(ana, fingerprint=b"same")).id != first.id


@pytest.mark.contract("rest-core.trips")
async def test_a_list_has_the_callers_trips_latest_start_first_with_all_members(
    db: TripDb, trips: PostgresTrips
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    early = await db.trip(ana, start_date=date(2026, 12, 1), end_date=date(2026, 12, 1))
    late = await db.trip(ana, start_date=date(2026, 12, 5), end_date=date(2026, 12, 5))
    await db.trip(ben, name="elsewhere")
    await db.join(late, ben, ana)
    found = (await trips.list_for_user(ana)).trips
    assert [trip.id for trip in found] == [late, early]
    assert [(trip.member_count, members_on(trip)) for trip in found] == [(2, [ana, ben]), (1, [ana])]


async def test_a_user_without_trips_has_an_empty_list_and_a_user_without_profile_is_refused(
    db: TripDb, trips: PostgresTrips
) -> None:
    ana = await db.user("ana")
    assert (await trips.list_for_user(ana)).trips == []
    with pytest.raises(NotOnboarded):
        await trips.list_for_user(UserId(uuid4()))
    with pytest.raises(NotOnboarded):
        await db.trip(UserId(uuid4()))


@pytest.mark.contract("rest-core.trips", "rest-core.trip", "rest-core.delete-trip")
async def test_non_members_get_not_trip_member_and_members_of_a_deleted_trip_not_found(
    db: TripDb, trips: PostgresTrips
) -> None:
    ana, ben, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    trip_id = await db.trip(ana)
    await db.join(trip_id, ben, ana)
    for unreadable in (trip_id, TripId(uuid4())):
        with pytest.raises(NotTripMember):
            await trips.get(Access(unreadable, eve, MEMBER))
    with pytest.raises(Forbidden):
        await trips.delete(Command(trip_id, ben, OWNER, EventId(uuid7()), NOON))
    await trips.delete(Command(trip_id, ana, OWNER, EventId(uuid7()), NOON))
    with pytest.raises(NotFound):
        await trips.get(Access(trip_id, ben, MEMBER))
    with pytest.raises(NotFound):
        await trips.delete(Command(trip_id, ana, OWNER, EventId(uuid7()), NOON))
    with pytest.raises(NotTripMember):
        await trips.get(Access(trip_id, eve, MEMBER))
    assert (await trips.list_for_user(ana)).trips == []


@pytest.mark.contract("rest-core.change-trip", "rest-core.change-trip.client-event")
async def test_a_change_is_merged_and_names_the_changed_fields(db: TripDb, trips: PostgresTrips) -> None:
    ana = await db.user("ana")
    trip_id = await db.trip(ana, description="by train")
    changed = await change(trips, trip_id, ana, name="", description="", end_date=date(2026, 12, 20))
    assert (changed.name, changed.description, changed.end_date) == ("Porto", "", date(2026, 12, 20))
    event = (await db.events())[-1]
    assert event["type"] == "TRIP_UPDATED"
    assert event["payload"]["changedFields"] == ["description", "endDate"]
    assert event["payload"]["description"] == ""  # an absent one would leave the old text in the app
    assert event["payload"]["status"] == "PLANNING"


@pytest.mark.contract("rest-core.change-trip.status")
async def test_a_change_without_effect_publishes_nothing(db: TripDb, trips: PostgresTrips) -> None:
    ana = await db.user("ana")
    trip_id = await db.trip(ana)
    same = await change(trips, trip_id, ana, name="Porto", status=Status.PLANNING)
    assert same.updated_at == NOON
    assert await db.types() == ["TRIP_CREATED"]


@pytest.mark.contract("rest-core.change-trip.dates")
async def test_dates_are_merged_before_their_validation(db: TripDb, trips: PostgresTrips) -> None:
    ana = await db.user("ana")
    trip_id = await db.trip(ana)
    with pytest.raises(InvalidDates):
        await change(trips, trip_id, ana, end_date=date(2026, 11, 1))
    assert (await trips.get(Access(trip_id, ana, MEMBER))).end_date == date(2026, 12, 9)


@pytest.mark.contract("rest-core.change-trip.status", "rest-core.status")
@pytest.mark.parametrize("old", list(Status))
@pytest.mark.parametrize("new", list(Status))
async def test_status_follows_the_table(db: TripDb, trips: PostgresTrips, old: Status, new: Status) -> None:
    ana = await db.user("ana")
    trip_id = await db.trip(ana, status=old)
    if new in model.TRANSITIONS[old]:
        assert (await change(trips, trip_id, ana, must_move=True, status=new)).status == new
        event = (await db.events())[-1]
        assert event["type"] == "TRIP_STATUS_UPDATED"
        assert (event["payload"]["old_status"], event["payload"]["status"]) == (old, new)
    else:
        with pytest.raises(InvalidTransition) as refusal:
            await change(trips, trip_id, ana, must_move=True, status=new)
        assert refusal.value.details == f"a trip cannot go from {old} to {new}"


@pytest.mark.contract("rest-core.trip-search", "rest-core.trip-search.fix-own", "permissions.fix-search")
async def test_a_search_covers_the_callers_trips_only(db: TripDb, trips: PostgresTrips) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    home = await db.trip(ana, destination_name="Lisboa", start_date=date(2026, 12, 5))
    porto = await db.trip(ana, destination_address="Rua 100%, Porto")
    await db.trip(ben, destination_name="Porto")

    async def found(**filters: object) -> set[TripId]:
        search = structs.replace(ANY, **filters)
        page = await trips.search(Access(home, ana, MEMBER), search)
        return {trip.id for trip in page.trips}

    assert await found() == {home, porto}
    first = await trips.search(Access(home, ana, MEMBER), replace(ANY, limit=1, offset=0))
    rest = await trips.search(Access(home, ana, MEMBER), replace(ANY, limit=2, offset=9), after=first.last)
    assert (*(trip.id for trip in first.trips), *(trip.id for trip in rest.trips)) == (home, porto)
    assert rest.last is None
    assert await found(destination="PORTO") == {porto}
    assert await found(destination="0%, P") == {porto}
    assert await found(destination="Lisbo\u0301a") == {home}
    await change(trips, porto, ana, destination_name="Łódź")
    for spelling in ("LODZ", "ło\u0301dz\u0301", "porto"):
        assert await found(destination=spelling) == {porto}
    assert await found(start_from=date(2026, 12, 2)) == {home}
    assert await found(start_to=date(2026, 12, 2)) == {porto}
    assert await found(end_to=date(2026, 12, 1)) == set()
    assert len(await found(limit=1)) == 1


async def test_trips_per_user_are_limited(db: TripDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nomadcrew.adapters.postgres.trips.MAX_TRIPS_PER_USER", 2)
    ana = await db.user("ana")
    await db.trip(ana)
    await db.trip(ana)
    with pytest.raises(Conflict) as refusal:
        await db.trip(ana)
    assert refusal.value.code == "too_many_trips"


async def test_trips_made_at_the_same_moment_stay_within_the_limit_and_repeats_get_theirs(
    db: TripDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nomadcrew.adapters.postgres.trips.MAX_TRIPS_PER_USER", 2)
    for number in range(5):
        ana = await db.user(f"ana{number}")
        made = await asyncio.gather(*(db.trip(ana) for _ in range(5)), return_exceptions=True)
        assert sum(isinstance(one, Conflict) for one in made) == 3
        ben, fingerprint = await db.user(f"ben{number}"), uuid7().bytes
        await db.trip(ben)
        same = await asyncio.gather(*(db.new_trip(ben, fingerprint=fingerprint) for _ in range(4)))
        assert len({trip.id for trip in same}) == 1


@pytest.mark.contract("permissions.trip.update")
async def test_an_admin_edits_and_a_member_does_not(db: TripDb, trips: PostgresTrips) -> None:
    ana, ben, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    trip_id = await db.trip(ana)
    await db.join(trip_id, ben, ana, Role.ADMIN)
    await db.join(trip_id, eve, ana)
    assert (await change(trips, trip_id, ben, name="Braga")).name == "Braga"
    with pytest.raises(Forbidden):
        await change(trips, trip_id, eve, name="Faro")


async def test_a_time_zone_follows_the_destination_unless_it_is_named(db: TripDb, trips: PostgresTrips) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    assert (await trips.get(Access(trip, ana, MEMBER))).timezone == "Europe/Lisbon"
    named = await change(trips, trip, ana, timezone="Asia/Tokyo")
    kept = await change(trips, trip, ana, destination_latitude=41.15, destination_timezone="Europe/Lisbon")
    moved = await change(trips, trip, ana, destination_latitude=27.7, destination_timezone="Asia/Kathmandu")
    both = await change(
        trips, trip, ana, destination_latitude=1.9, timezone="UTC", destination_timezone="Asia/Tokyo"
    )
    assert [trip.timezone for trip in (named, kept, moved, both)] == [
        "Asia/Tokyo",
        "Asia/Tokyo",
        "Asia/Kathmandu",
        "UTC",
    ]
    changes = [event["payload"] for event in await db.events() if event["type"] == "TRIP_UPDATED"]
    assert [(change["timezone"], change["changedFields"]) for change in changes] == [
        ("Asia/Tokyo", ["timezone"]),
        ("Asia/Kathmandu", ["destination", "timezone"]),
        ("UTC", ["destination", "timezone"]),
    ]
