"""`nomadcrew up`: start the server."""

import contextlib
import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import click

from nomadcrew.cli.context import read_settings, run
from nomadcrew.hosts.machine.server import Started, serve
from nomadcrew.settings import MAX_WORKERS, Settings

DEFAULT_ADDRESS = "http://127.0.0.1:8080"
WORKER_MIB = 60  # at rest
CURL = """curl -s {url}/v1/auth/register -H 'content-type: application/json' \\
    -d '{{"email":"you@example.org","password":"Over-the-hills-7"}}'"""


@click.command(short_help="Start PostgreSQL, migrate, serve REST and sockets.")
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    help="Number of server processes. Default: NOMADCREW_WORKERS, else one for two CPU cores.",
)
def up(workers: int | None) -> None:
    """Start PostgreSQL, migrate the database, serve REST and WebSocket.

    \b
    Examples:
      nomadcrew up
      nomadcrew up --workers 4
      HOST=0.0.0.0 PORT=80 NOMADCREW_PUBLIC_URL=https://trips.example.org nomadcrew up
    """
    settings = read_settings(quiet=False)
    if workers is not None:
        settings = replace(settings, workers=workers)
    if settings.rate_limits.lower() == "off":
        logging.getLogger("nomadcrew.host").warning(
            "RATE LIMITS ARE OFF: clients may guess passwords and flood this server. For load tests only."
        )
    click.echo("Starting NomadCrew; the first start takes a few seconds longer …")
    with contextlib.suppress(KeyboardInterrupt):
        run(serve(settings, lambda started: click.echo(_welcome(started, settings))))
    click.echo("Stopped.")


def _welcome(started: Started, settings: Settings) -> str:
    """The addresses and folders in use, and commands to try."""
    home = settings.home.absolute()
    mails = "sent by SMTP" if settings.smtp_url else f"{home / 'mail'}/*.eml"
    rows = {
        "address": started.address,
        "public": started.public_url if started.public_url != started.address else "",
        "docs": f"{started.address}/docs",
        "workers": f"{started.workers}, about {WORKER_MIB} MiB each" if started.workers > 1 else "",
        "data": str(home),
        "mails": mails,
    }
    table = "\n".join(f"  {name:<9} {text}" for name, text in rows.items() if text)
    note = " (first start)" if started.first else ""
    option = "" if started.address == DEFAULT_ADDRESS else f" --url {started.address}"
    return (
        f"\nNomadCrew is up after {started.seconds:.1f} s{note}\n{table}\n\n"
        f"Try it:\n  {CURL.format(url=started.address)}\n\n"
        f"Or fill it, from another terminal:\n  {_command()} demo{option}\n\n"
        "Ctrl-C stops everything.\n"
    )


def _command() -> str:
    """This program as the user can type it: the bare name if the shell's PATH finds it, else the path in use."""
    called = sys.argv[0]
    name = Path(called).name
    return name if shutil.which(name) == shutil.which(called) else called
