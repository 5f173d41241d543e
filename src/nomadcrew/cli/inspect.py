"""`nomadcrew routes`, `openapi`, `doctor`: list the API, check the configuration."""

import contextlib
import json
import platform
import resource
import shutil
import sys
from collections.abc import Callable

import click

from nomadcrew import __version__
from nomadcrew.adapters.machine.keys import open_keys
from nomadcrew.adapters.postgres.integrity import PostgresIntegrity
from nomadcrew.api import examples
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.cli.context import own_url, pool_on, read_settings, run, unusable
from nomadcrew.core.ports import Site
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import AlreadyRunning, StartupError
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.server import listen
from nomadcrew.settings import Settings
from nomadcrew.web.openapi import document

MAX_FAULTS = 100


@click.command(short_help="List every route with its authentication and rule.")
def routes() -> None:
    """List every route: method, path, authentication and the rule that decides who may call it.

    \b
    Example:
      nomadcrew routes | grep todos
    """
    for route in sorted(ALL_ROUTES, key=lambda row: (row.path, row.method)):
        gate = f"{route.gate.resource} {route.gate.action}" if route.gate else ""
        click.echo(f"{route.method:<7} {route.path:<48} {route.auth:<7} {gate}")


@click.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document, as served at /openapi.json.

    \b
    Example:
      nomadcrew openapi > openapi.json
    """
    settings = read_settings()
    site = Site(public_url=own_url(settings))
    json.dump(document(ALL_ROUTES, site=site, examples=examples.load()), sys.stdout, indent=2)
    click.echo()


@click.command()
@click.option("--deep", is_flag=True, help="Also count again what the database counts, and check its limits.")
@click.option("--repair", is_flag=True, help="With --deep: correct the numbers of members that were wrong.")
def doctor(*, deep: bool, repair: bool) -> None:
    """Check that the server can start with these settings.

    Each failed check prints a line marked FAIL that says what to do. A running server is not touched. With --deep,
    the data is checked too, beside a running server or without one; it must have been started once.

    \b
    Examples:
      nomadcrew doctor
      nomadcrew doctor --deep
      nomadcrew doctor --deep --repair
    """
    if repair and not deep:
        raise click.UsageError("--repair needs --deep.")
    settings = read_settings()
    click.echo(f"NomadCrew {__version__}, Python {platform.python_version()}, {platform.platform()}")
    folder = DataFolder(settings.home)
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("settings", lambda: "all valid"),
        ("PostgreSQL", lambda: _postgres(settings)),
        ("data folder", lambda: _folder(settings, folder)),
        ("keys", lambda: _keys(folder)),
        ("address", lambda: _address(settings, folder)),
        ("mail", lambda: "sent by SMTP" if settings.smtp_url else f"written to {folder.mail}"),
        ("open files", _files),
    )
    failed = [name for name, check in checks if not _passes(name, check)]
    if failed:
        raise StartupError("The server cannot start; see the lines marked FAIL.")
    if deep and not run(_data_agrees(settings, folder, repair=repair)):
        raise StartupError("The data disagrees with itself; see the lines marked FAIL.")


async def _data_agrees(settings: Settings, folder: DataFolder, *, repair: bool) -> bool:
    """Print each fault of the stored data, and correct those that can be; True if none is left."""
    async with pool_on(settings, folder) as pool:
        patient = pool.long_timeout()
        integrity = PostgresIntegrity(patient)
        faults = await integrity.find_faults(limit=MAX_FAULTS)
        for fault in faults:
            click.echo(f"  FAIL  {fault.check} of {fault.subject}: {fault.stored} stored, {fault.counted} counted")
        if repair and faults:
            corrected = await integrity.correct_member_counts()
            click.echo(f"  ok    corrected the number of members of {corrected} trips")
            renewed = await integrity.renew_trip_cards()
            click.echo(f"  ok    renewed the cards of {renewed} trips")
            faults = await integrity.find_faults(limit=MAX_FAULTS)
        await patient.close()
    if not faults:
        click.echo("  ok    data: all counts and limits agree")
    return not faults


def _passes(name: str, check: Callable[[], str]) -> bool:
    try:
        click.echo(f"  ok    {name}: {check()}")
    except (StartupError, OSError, ValueError) as error:
        click.echo(f"  FAIL  {name}: {unusable(error) if isinstance(error, OSError) else error}")
        return False
    return True


def _postgres(settings: Settings) -> str:
    binaries = find_binaries(settings.postgres_bin)
    return f"{binaries.version} in {binaries.postgres.parent}"


def _folder(settings: Settings, folder: DataFolder) -> str:
    folder.check(find_binaries(settings.postgres_bin).major)
    parent = next(path for path in (folder.home, *folder.home.parents) if path.exists())
    free = shutil.disk_usage(parent).free / 2**30
    state = "will be created" if folder.is_empty() else _host_on(folder) or "no server runs on it"
    return f"{folder.home}, {state}, {free:.0f} GiB free"


def _host_on(folder: DataFolder) -> str:
    """A description of the host that runs on the folder; empty if none does."""
    if not (folder.home / "host.lock").exists():  # `lock` would create the file, and doctor changes nothing
        return ""
    try:
        with folder.lock("doctor"):
            return ""
    except AlreadyRunning as running:
        process = str(running).partition("(")[2].partition(")")[0]
        return f"a server runs on it ({process})"


def _keys(folder: DataFolder) -> str:
    if not any(folder.keys.glob("signing-*.pem")):
        return "will be created"
    open_keys(folder.keys)
    return f"readable, in {folder.keys}"


def _address(settings: Settings, folder: DataFolder) -> str:
    with contextlib.suppress(OSError):  # the check of the data folder reports it
        if _host_on(folder):
            return "not checked, a server is running"
    listen(settings).close()
    return f"{settings.host}:{settings.port} is free"


def _files() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"{soft} now, up to {hard}; each socket needs one"
