"""The index that jobs scan by status: a trip is in the partition of its status, as it is now, or nowhere."""

from datetime import date, timedelta

from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.core.permissions import ADMIN, OWNER, Role
from nomadcrew.core.trips.model import Status, TripChange
from tests.contract.crew import Crew
from tests.fakes import NOON

_INDEXED = compile_statement(
    "indexed",
    "SELECT tableoid::regclass::text AS partition, status, start_date::text AS start_date, latitude"
    " FROM trip_index WHERE trip_id = :id::uuid",
)
_PLAN = compile_statement("plan", "EXPLAIN SELECT trip_id FROM trip_index WHERE status = 'ACTIVE'")


async def indexed(crew: Crew, trip_id: TripId) -> list[tuple[str, str, str, float]]:
    rows = await crew.pool.fetch(_INDEXED, id=trip_id)
    return [(row["partition"], row["status"], row["start_date"], row["latitude"]) for row in rows]


async def change(crew: Crew, trip_id: TripId, caller: UserId, **fields: object) -> None:
    await PostgresTrips(crew.pool).change(
        Access(trip_id, caller, ADMIN),
        TripChange(**fields),  # type: ignore[arg-type]
        must_move=False,
        event_ids=(EventId(uuid7()), EventId(uuid7())),
        now=NOON + timedelta(hours=1),
    )


async def test_one_update_of_the_status_moves_a_trip_to_its_partition(crew: Crew) -> None:
    ana = await crew.person("ana")
    trip = await crew.new_trip(ana)
    start, latitude = trip.start_date.isoformat(), trip.destination_latitude
    assert await indexed(crew, trip.id) == [("trip_index_planning", "PLANNING", start, latitude)]
    await change(crew, trip.id, ana, status=Status.ACTIVE)
    assert await indexed(crew, trip.id) == [("trip_index_active", "ACTIVE", start, latitude)]


async def test_a_trip_that_moves_in_time_and_state_at_once_is_indexed_as_it_is_now(crew: Crew) -> None:
    ana = await crew.person("ana")
    trip_id = await crew.trip(ana)
    await change(
        crew,
        trip_id,
        ana,
        status=Status.CANCELLED,
        start_date=date(2027, 5, 1),
        end_date=date(2027, 5, 2),
    )
    [(partition, status, start, _)] = await indexed(crew, trip_id)
    assert (partition, status, start) == ("trip_index_cancelled", "CANCELLED", "2027-05-01")


async def test_who_joins_does_not_touch_the_index(crew: Crew) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip_id = await crew.trip(ana)
    version = compile_statement("version", "SELECT xmin::text AS v FROM trip_index WHERE trip_id = :id::uuid")
    [before] = await crew.pool.fetch(version, id=trip_id)
    await crew.join(trip_id, ben, ana, Role.MEMBER)
    [after] = await crew.pool.fetch(version, id=trip_id)
    assert before["v"] == after["v"]


async def test_a_deleted_trip_leaves_the_index(crew: Crew) -> None:
    ana = await crew.person("ana")
    trip_id = await crew.trip(ana)
    await PostgresTrips(crew.pool).delete(Command(trip_id, ana, OWNER, EventId(uuid7()), NOON))
    assert await indexed(crew, trip_id) == []


async def test_a_row_that_goes_takes_its_entry_along(crew: Crew) -> None:
    ana = await crew.person("ana")
    trip_id = await crew.trip(ana)
    await crew.run("DELETE FROM trips WHERE id = :id::uuid", id=trip_id)
    assert await indexed(crew, trip_id) == []


async def test_a_scan_by_status_reads_one_partition(crew: Crew) -> None:
    plan = " ".join(row["QUERY PLAN"] for row in await crew.pool.fetch(_PLAN))
    assert "trip_index_active" in plan
    assert "trip_index_completed" not in plan
