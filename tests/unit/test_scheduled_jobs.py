"""Runs of scheduled jobs and their records."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ports import Ports
from nomadcrew.core.scheduled_jobs import SCHEDULED_JOBS, JobRun, ScheduledJob, run_scheduled_job
from tests.fakes import NOON, CountingOutbox, fake_ports


@dataclass
class FakeRuns:
    away: bool = False
    runs: list[JobRun] = field(default_factory=list)

    async def record(self, run: JobRun) -> None:
        if self.away:
            raise Unavailable
        self.runs.append(run)


def job(count: int = 0, error: Exception | None = None) -> ScheduledJob:
    async def run(_ports: Ports, _now: datetime) -> int:
        if error is not None:
            raise error
        return count

    return ScheduledJob("tidy", timedelta(hours=1), run, has_events=True)


async def test_a_run_is_recorded_and_its_events_are_published() -> None:
    runs, outbox = FakeRuns(), CountingOutbox()
    assert await run_scheduled_job(job(3), fake_ports(job_runs=runs, outbox=outbox)) == 3
    assert runs.runs == [JobRun("tidy", NOON, NOON, 3)]
    assert (outbox.writes, outbox.commits_with_events) == (1, 1)


@pytest.mark.parametrize(("record", "recorded"), [(True, 1), (False, 0)])
async def test_a_run_with_nothing_to_do_wakes_nothing_and_is_recorded_on_request(
    record: bool, recorded: int
) -> None:
    runs, outbox = FakeRuns(), CountingOutbox()
    assert await run_scheduled_job(job(), fake_ports(job_runs=runs, outbox=outbox), record=record) == 0
    assert (len(runs.runs), outbox.commits_with_events) == (recorded, 0)


@pytest.mark.parametrize("away", [False, True], ids=["", "and the record fails"])
async def test_an_error_is_recorded_by_its_class_and_raised(away: bool) -> None:
    runs = FakeRuns(away)
    with pytest.raises(ValueError, match="secret"):
        await run_scheduled_job(job(error=ValueError("secret")), fake_ports(job_runs=runs))
    assert runs.runs == ([] if away else [JobRun("tidy", NOON, NOON, 0, "ValueError")])


def test_every_scheduled_job_has_its_own_name() -> None:
    names = [scheduled.name for scheduled in SCHEDULED_JOBS]
    assert len(set(names)) == len(names)


@pytest.mark.contract("jobs.trip-status")
async def test_trips_stay_as_they_are_unless_the_site_advances_them() -> None:
    [advance] = [scheduled for scheduled in SCHEDULED_JOBS if scheduled.name == "trip-status"]
    assert await run_scheduled_job(advance, fake_ports(), record=False) == 0
