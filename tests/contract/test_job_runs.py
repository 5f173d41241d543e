"""`JobRuns` over every driver."""

from datetime import timedelta

from nomadcrew.adapters.postgres.job_runs import PostgresJobRuns
from nomadcrew.core.scheduled_jobs import JobRun, LastRun
from tests.contract.trip_database import TripDb
from tests.fakes import NOON

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


def a_run(hours: int, count: int = 0, error: str | None = None) -> JobRun:
    started_at = NOON + hours * HOUR
    return JobRun("old-events", started_at, started_at + SECOND, count, error)


async def test_the_last_run_is_stored_with_the_last_error(db: TripDb) -> None:
    runs = PostgresJobRuns(db.pool)
    assert await runs.last() == []
    await runs.record(a_run(0, error="Unavailable"))
    await runs.record(a_run(1, count=7))
    late = NOON + HOUR
    assert await runs.last() == [LastRun("old-events", late, late + SECOND, 7, "Unavailable", NOON + SECOND)]


async def test_a_late_record_of_an_earlier_run_changes_nothing(db: TripDb) -> None:
    runs = PostgresJobRuns(db.pool)
    await runs.record(a_run(1, count=7))
    await runs.record(a_run(0, error="Unavailable"))
    [last] = await runs.last()
    assert (last.count, last.error) == (7, None)
