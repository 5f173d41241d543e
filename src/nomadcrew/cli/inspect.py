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
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.cli.context import own_url, read_settings, unusable
from nomadcrew.core.ports import Site
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import AlreadyRunning, StartupError
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.server import listen
from nomadcrew.settings import Settings
from nomadcrew.web.openapi import document


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
    json.dump(document(ALL_ROUTES, site=Site(public_url=own_url(settings))), sys.stdout, indent=2)
    click.echo()


@click.command()
def doctor() -> None:
    """Check that the server can start with these settings.

    Each failed check prints a line marked FAIL that says what to do. A running server is not touched.

    \b
    Example:
      nomadcrew doctor
    """
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
