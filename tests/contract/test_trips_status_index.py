"""The index of trips by status: a trip is in the partition of its current status, or in none."""

from datetime import date, timedelta

from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.core.permissions import ADMIN, OWNER, Role
from nomadcrew.core.trips.model import Status, TripChange
from tests.contract.trip_database import TripDb
from tests.fakes import NOON

_INDEXED = compile_statement(
    "indexed",
    "SELECT tableoid::regclass::text AS partition, status, start_date::text AS start_date, latitude"
    " FROM trip_index WHERE trip_id = :id::uuid",
)
_PLAN = compile_statement("plan", "EXPLAIN SELECT trip_id FROM trip_index WHERE status = 'ACTIVE'")


async def indexed(db: TripDb, trip_id: TripId) -> list[tuple[str, str, str, float]]:
    rows = await db.pool.fetch(_INDEXED, id=trip_id)
    return [(row["partition"], row["status"], row["start_date"], row["latitude"]) for row in rows]


async def change(db: TripDb, trip_id: TripId, caller: UserId, **fields: object) -> None:
    await PostgresTrips(db.pool).change(
        Access(trip_id, caller, ADMIN),
        TripChange(**fields),  # type: ignore[arg-type]
        must_move=False,
        event_ids=(EventId(uuid7()), EventId(uuid7())),
        now=NOON + timedelta(hours=1),
    )


async def test_an_update_of_the_status_moves_a_trip_to_its_partition(db: TripDb) -> None:
    ana = await db.user("ana")
    trip = await db.new_trip(ana)
    start, latitude = trip.start_date.isoformat(), trip.destination_latitude
    assert await indexed(db, trip.id) == [("trip_index_planning", "PLANNING", start, latitude)]
    await change(db, trip.id, ana, status=Status.ACTIVE)
    assert await indexed(db, trip.id) == [("trip_index_active", "ACTIVE", start, latitude)]


async def test_a_change_of_dates_and_status_updates_the_index(db: TripDb) -> None:
    ana = await db.user("ana")
    trip_id = await db.trip(ana)
    await change(
        db,
        trip_id,
        ana,
        status=Status.CANCELLED,
        start_date=date(2027, 5, 1),
        end_date=date(2027, 5, 2),
    )
    [(partition, status, start, _)] = await indexed(db, trip_id)
    assert (partition, status, start) == ("trip_index_cancelled", "CANCELLED", "2027-05-01")


async def test_a_join_does_not_touch_the_index(db: TripDb) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip_id = await db.trip(ana)
    version = compile_statement("version", "SELECT xmin::text AS v FROM trip_index WHERE trip_id = :id::uuid")
    [before] = await db.pool.fetch(version, id=trip_id)
    await db.join(trip_id, ben, ana, Role.MEMBER)
    [after] = await db.pool.fetch(version, id=trip_id)
    assert before["v"] == after["v"]


async def test_a_soft_deleted_trip_leaves_the_index(db: TripDb) -> None:
    ana = await db.user("ana")
    trip_id = await db.trip(ana)
    await PostgresTrips(db.pool).delete(Command(trip_id, ana, OWNER, EventId(uuid7()), NOON))
    assert await indexed(db, trip_id) == []


async def test_a_deleted_row_leaves_the_index(db: TripDb) -> None:
    ana = await db.user("ana")
    trip_id = await db.trip(ana)
    await db.run("DELETE FROM trips WHERE id = :id::uuid", id=trip_id)
    assert await indexed(db, trip_id) == []


async def test_a_scan_by_status_reads_one_partition(db: TripDb) -> None:
    plan = " ".join(row["QUERY PLAN"] for row in await db.pool.fetch(_PLAN))
    assert "trip_index_active" in plan
    assert "trip_index_completed" not in plan
