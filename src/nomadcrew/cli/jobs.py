"""`nomadcrew jobs`: the scheduled jobs, with their last and next runs."""

from datetime import UTC, datetime

import click

from nomadcrew.cli.context import with_ports
from nomadcrew.core.ports import Ports
from nomadcrew.core.scheduled_jobs import SCHEDULED_JOBS, LastRun, ScheduledJob, run_scheduled_job

_BY_NAME = {job.name: job for job in SCHEDULED_JOBS}


@click.group(invoke_without_command=True)
@click.pass_context
def jobs(context: click.Context) -> None:
    """Show the scheduled jobs and run one.

    Each line has the last run, the next one and the last error.

    \b
    Examples:
      nomadcrew jobs
      nomadcrew jobs run old-events
    """
    if context.invoked_subcommand is None:
        runs = {run.job: run for run in with_ports(lambda ports: ports.job_runs.last())}
        for job in SCHEDULED_JOBS:
            click.echo(_line(job, runs.get(job.name)))


@jobs.command()
@click.argument("name", type=click.Choice(sorted(_BY_NAME)))
def run(name: str) -> None:
    """Run the scheduled job NAME now, also if the server is stopped.

    \b
    Example:
      nomadcrew jobs run old-events
    """

    async def work(ports: Ports) -> int:
        return await run_scheduled_job(_BY_NAME[name], ports)

    click.echo(f"{name}: {with_ports(work)} done.")


def _line(job: ScheduledJob, last: LastRun | None) -> str:
    every = f"{job.name:<18} every {_interval(job):<5}"
    if last is None:
        return f"{every}  never ran; runs at the start of `nomadcrew up`"
    error = f", last error {last.error} at {_time(last.failed_at)}" if last.error and last.failed_at else ""
    next_run = _time(last.started_at + job.every)
    return f"{every}  last {_time(last.started_at)}, {last.count} done, next {next_run}{error}"


def _interval(job: ScheduledJob) -> str:
    seconds = int(job.every.total_seconds())
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds % length_s == 0:
            return f"{seconds // length_s} {unit}"
    return f"{seconds} s"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
