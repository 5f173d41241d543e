"""`nomadcrew up`: serve."""

import contextlib
import logging

import click

from nomadcrew.cli.context import read_settings, run
from nomadcrew.host.server import Started, serve

CURL = """curl -s {url}/v1/auth/register -H 'content-type: application/json' \\
    -d '{{"email":"you@example.org","password":"Over-the-hills-7"}}'"""


@click.command()
def up() -> None:
    """Serve REST and WebSocket; start PostgreSQL and migrate first.

    \b
    Examples:
      nomadcrew up
      HOST=0.0.0.0 PORT=80 NOMADCREW_PUBLIC_URL=https://trips.example.org nomadcrew up
    """
    settings = read_settings(quiet=False)
    if settings.rate_limits == "off":
        logging.getLogger("nomadcrew.host").warning(
            "RATE LIMITS ARE OFF: anybody may guess passwords and flood this server. For load tests only."
        )
    click.echo("Starting NomadCrew; the first start takes a few seconds longer …")

    def say(started: Started) -> None:
        click.echo(
            f"\nNomadCrew is up after {started.seconds:.1f} s\n"
            f"  address   {started.url}\n"
            f"  docs      {started.url}/docs\n"
            f"  data      {settings.home.absolute()}\n\n"
            f"Try it:\n  {CURL.format(url=started.url)}\n\n"
            "Or fill it:  nomadcrew demo\nCtrl-C stops everything.\n"
        )

    with contextlib.suppress(KeyboardInterrupt):
        run(serve(settings, say))
    click.echo("Stopped.")
