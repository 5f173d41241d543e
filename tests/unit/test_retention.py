"""The table of retentions has every period of the code, and each has a job that ends it."""

from datetime import timedelta

from nomadcrew.core import retention
from nomadcrew.core.scheduled_jobs import SCHEDULED_JOBS


def test_every_period_of_the_code_is_in_the_table() -> None:
    constants = {value for name, value in vars(retention).items() if name.endswith("_RETENTION")}
    assert {period.stored_for for period in retention.PERIODS} == constants


def test_every_period_has_a_job_that_runs_often_enough() -> None:
    every = {job.name: job.every for job in SCHEDULED_JOBS}
    for period in retention.PERIODS:
        assert every[period.job] <= max(period.stored_for, timedelta(minutes=1)), period.data


def test_the_names_of_the_table_differ() -> None:
    names = [period.data for period in retention.PERIODS]
    assert len(set(names)) == len(names)
