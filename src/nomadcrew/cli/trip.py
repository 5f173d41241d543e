"""`nomadcrew trip`: exports and imports a trip, with or without a running server."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import click

from nomadcrew.api.archives.sources import import_ports_of, sources_of
from nomadcrew.api.calendars.ics import calendar_text
from nomadcrew.cli.context import with_ports
from nomadcrew.core.archives.export import ExportRequest, export_trip
from nomadcrew.core.archives.importing import Imported, import_trip
from nomadcrew.core.documents.service import Client
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.web.file_types import file_kind

PROGRESS_AFTER_S = 2.0
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def trip() -> None:
    """Export a trip to one file, and import it.

    docs/trip-archive.md describes the file.

    \b
    Examples:
      nomadcrew trip export 019a3f… porto.zip --user ana
      nomadcrew trip import porto.zip --user ben
    """


@trip.command(short_help="Write a trip to a ZIP.")
@click.argument("trip_id", type=click.UUID)
@click.argument("file", type=_FILE)
@click.option("--user", required=True, help="Username or address of the member whose view is exported.")
@click.option("--no-files", is_flag=True, help="Leave out the files of documents and attachments.")
def export(trip_id: UUID, file: Path, user: str, no_files: bool) -> None:
    """Write the trip TRIP_ID to FILE, as a member of the trip sees it.

    FILE appears when it is complete.

    \b
    Examples:
      nomadcrew trip export 019a3f… porto.zip --user ana
      nomadcrew trip export 019a3f… porto.zip --user ana --no-files
    """

    async def work(ports: Ports) -> None:
        caller = await _user(user, ports)
        request = ExportRequest(
            TripId(trip_id), caller, Client("operator", "nomadcrew trip"), ports.clock(), with_files=not no_files
        )
        partial = file.with_name(f".{file.name}.partial")
        try:
            with partial.open("wb") as target:
                async with _progress(lambda: f"Written: {_size(os.fstat(target.fileno()).st_size)}"):
                    await export_trip(request, target, sources=sources_of(ports), write_calendar=calendar_text)
                target.flush()
                os.fsync(target.fileno())
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)

    with_ports(work)
    click.echo(f"Wrote {file} ({_size(file.stat().st_size)}).")


@trip.command("import", short_help="Make a new trip of a ZIP.")
@click.argument("file", type=_FILE)
@click.option("--user", required=True, help="Username or address of the user who becomes the owner.")
def import_(file: Path, user: str) -> None:
    """Make a new trip of FILE, an archive that `nomadcrew trip export` or the app wrote.

    The same FILE again within a day is the same trip.

    \b
    Example:
      nomadcrew trip import porto.zip --user ana
    """

    async def work(ports: Ports) -> Imported:
        caller = await _user(user, ports)
        with file.open("rb") as source:
            digest = await asyncio.to_thread(hashlib.file_digest, source, "sha256")
            started_s = time.monotonic()
            async with _progress(lambda: f"Importing for {time.monotonic() - started_s:.0f} s"):
                return await import_trip(
                    source,
                    os.fstat(source.fileno()).st_size,
                    caller,
                    ports=import_ports_of(ports),
                    detect=file_kind,
                    fingerprint=hashlib.sha256(caller.bytes + digest.digest()).digest(),
                    new_id=ports.new_id,
                    now=ports.clock(),
                )

    imported = with_ports(work)
    click.echo(f"Imported {imported.trip.name} as {imported.trip.id}.")
    if imported.missing_files:
        click.echo(f"{imported.missing_files} files are not in the archive.")


async def _user(login: str, ports: Ports) -> UserId:
    """The user of an address or a username."""
    found = await ports.accounts.find(login, now=ports.clock())
    if found is None or found.account is None:
        raise StartupError(
            f"No account has the address or username {login}; `nomadcrew user list` lists the accounts."
        )
    return found.account.user_id


@asynccontextmanager
async def _progress(describe: Callable[[], str]) -> AsyncIterator[None]:
    """Print a description of the state on standard error every two seconds."""

    async def report() -> None:
        while True:
            await asyncio.sleep(PROGRESS_AFTER_S)
            click.echo(describe(), err=True)

    reporter = asyncio.create_task(report())
    try:
        yield
    finally:
        reporter.cancel()


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB" if size_bytes >= 2**20 else f"{size_bytes / 1024:.1f} KiB"
