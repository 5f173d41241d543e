"""`nomadcrew feedback`: feedback that users sent."""

import click

from nomadcrew.cli.context import with_ports


@click.command(short_help="Show the feedback that users sent.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Number to show.")
def feedback(limit: int) -> None:
    """Show the newest feedback of users, with the addresses for answers.

    \b
    Example:
      nomadcrew feedback --limit 5
    """
    found = with_ports(lambda ports: ports.feedback_box.list_newest(limit=limit))
    for one in found:
        click.echo(f"{one.created_at:%Y-%m-%d %H:%M} UTC  {one.source}  {one.name} <{one.email}>")
        click.echo(f"{one.message}\n")
    if not found:
        click.echo("There is no feedback.")
