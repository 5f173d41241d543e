"""`nomadcrew queue`: waiting jobs and dead letters."""

import click

from nomadcrew.api.consumers import CONSUMERS
from nomadcrew.cli.context import with_ports
from nomadcrew.core.ids import JobId, parse_uuid
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.machine.errors import StartupError


@click.group()
def queue() -> None:
    """List queues and retry dead jobs."""


@queue.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="Number of dead jobs to show.",
)
def list_(limit: int) -> None:
    """Show the length of each queue, and the dead jobs.

    \b
    Example:
      nomadcrew queue list --limit 100
    """

    async def work(ports: Ports) -> None:
        depths = await ports.queue.depths()
        for depth in depths:
            click.echo(
                f"{depth.queue:<16} {depth.waiting} waiting, {depth.in_flight} in flight, {depth.dead} dead, "
                f"oldest {depth.oldest_s:.0f} s"
            )
        if not depths:
            click.echo("All queues are empty.")
        for job, reason in await ports.queue.dead(None, limit=limit):
            click.echo(f"dead  {job.id}  {job.queue}  {job.attempt} attempts  {reason}")

    with_ports(work)


@queue.command()
@click.argument("name", type=click.Choice(sorted(CONSUMERS)))
@click.option("--job", help="Retry this job only.")
def redrive(name: str, job: str | None) -> None:
    """Retry the dead jobs of the queue NAME.

    \b
    Examples:
      nomadcrew queue redrive email
      nomadcrew queue redrive email --job 019aab33-5c4f-7a3e-8000-2f6d1c9b4a10
    """
    job_id = parse_uuid(job) if job else None
    if job and job_id is None:
        raise click.BadParameter(
            "must be a job id, such as 019aab33-5c4f-7a3e-8000-2f6d1c9b4a10", param_hint="--job"
        )
    count = with_ports(lambda ports: ports.queue.redrive(name, None if job_id is None else JobId(job_id)))
    if not count:
        job_name = f"job {job_id}" if job_id else "job"
        raise StartupError(f"The queue {name} has no dead {job_name}; `nomadcrew queue list` shows the dead jobs.")
    click.echo("Retrying 1 job." if count == 1 else f"Retrying {count} jobs.")
