"""`nomadcrew queue`: work that waits, and work that failed for good."""

import click

from nomadcrew.api.consumers import CONSUMERS
from nomadcrew.cli.context import with_ports
from nomadcrew.core.ids import JobId, parse_uuid
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.machine.errors import CannotStart


@click.group()
def queue() -> None:
    """Look at work queues and send dead jobs round again."""


@queue.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many dead jobs to show."
)
def list_(limit: int) -> None:
    """Show how much waits in each queue, and the dead jobs.

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
            click.echo("Nothing waits.")
        for job, reason in await ports.queue.dead(None, limit=limit):
            click.echo(f"dead  {job.id}  {job.queue}  {job.attempt} attempts  {reason}")

    with_ports(work)


@queue.command()
@click.argument("name", type=click.Choice(sorted(CONSUMERS)))
@click.option("--job", help="Only this job.")
def redrive(name: str, job: str | None) -> None:
    """Send the dead jobs of a queue round again.

    \b
    Examples:
      nomadcrew queue redrive email
      nomadcrew queue redrive email --job 019aab33-5c4f-7a3e-8000-2f6d1c9b4a10
    """
    job_id = parse_uuid(job) if job else None
    if job and job_id is None:
        raise click.BadParameter("a job's id looks like 019aab33-5c4f-7a3e-8000-2f6d1c9b4a10", param_hint="--job")
    count = with_ports(lambda ports: ports.queue.redrive(name, None if job_id is None else JobId(job_id)))
    if not count:
        what = f"job {job_id}" if job_id else "job"
        raise CannotStart(f"The queue {name} has no dead {what}; `nomadcrew queue list` shows what there is.")
    click.echo("1 job sent round again." if count == 1 else f"{count} jobs sent round again.")
