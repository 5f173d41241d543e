"""`nomadcrew routes`, `openapi`, `doctor`: what there is, and whether it would run."""

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
from nomadcrew.hosts.machine.errors import CannotStart, HostRuns
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.server import listen
from nomadcrew.settings import Settings
from nomadcrew.web.openapi import document


@click.command(short_help="List every endpoint and who may call it.")
def routes() -> None:
    """List every endpoint: who may call it, and the rule it is subject to."""
    for route in sorted(ALL_ROUTES, key=lambda row: (row.path, row.method)):
        gate = f"{route.gate.resource} {route.gate.action}" if route.gate else ""
        click.echo(f"{route.method:<7} {route.path:<48} {route.auth:<7} {gate}")


@click.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document, as served at /openapi.json."""
    settings = read_settings()
    json.dump(document(ALL_ROUTES, site=Site(public_url=own_url(settings))), sys.stdout, indent=2)
    click.echo()


@click.command()
def doctor() -> None:
    """Check whether the server would start here.

    Where it would not, a line marked FAIL says what to do. What runs is left alone.
    """
    settings = read_settings()
    click.echo(f"NomadCrew {__version__}, Python {platform.python_version()}, {platform.platform()}")
    folder = DataFolder(settings.home)
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("settings", lambda: "all understood"),
        ("PostgreSQL", lambda: _postgres(settings)),
        ("data folder", lambda: _folder(settings, folder)),
        ("keys", lambda: _keys(folder)),
        ("address", lambda: _address(settings, folder)),
        ("mail", lambda: "leaves by SMTP" if settings.smtp_url else f"stays here, in {folder.mail}"),
        ("open files", _files),
    )
    failed = [name for name, check in checks if not _passes(name, check)]
    if failed:
        raise CannotStart("The server would not start; see the lines marked FAIL.")


def _passes(name: str, check: Callable[[], str]) -> bool:
    try:
        click.echo(f"  ok    {name}: {check()}")
    except (CannotStart, OSError, ValueError) as error:
        click.echo(f"  FAIL  {name}: {unusable(error) if isinstance(error, OSError) else error}")
        return False
    return True


def _postgres(settings: Settings) -> str:
    binaries = find_binaries(settings.postgres_bin)
    return f"{binaries.version} in {binaries.postgres.parent}"


def _folder(settings: Settings, folder: DataFolder) -> str:
    folder.check(find_binaries(settings.postgres_bin).major)
    parent = next(place for place in (folder.home, *folder.home.parents) if place.exists())
    free = shutil.disk_usage(parent).free / 2**30
    state = "will be made" if folder.is_empty() else _host_on(folder) or "no host runs on it"
    return f"{folder.home}, {state}, {free:.0f} GiB free"


def _host_on(folder: DataFolder) -> str:
    """What to say of the host that runs on the folder; empty if none does."""
    if not (folder.home / "host.lock").exists():  # which `lock` would make, in whatever folder this is
        return ""
    try:
        with folder.lock("doctor"):
            return ""
    except HostRuns as running:
        who = str(running).partition("(")[2].partition(")")[0]
        return f"a host runs on it ({who})"


def _keys(folder: DataFolder) -> str:
    if not any(folder.keys.glob("signing-*.pem")):
        return "will be made"
    open_keys(folder.keys)
    return f"readable, in {folder.keys}"


def _address(settings: Settings, folder: DataFolder) -> str:
    with contextlib.suppress(OSError):  # which the data folder's line is about
        if _host_on(folder):
            return "not tried, for a host runs"
    listen(settings).close()
    return f"{settings.host}:{settings.port} is free"


def _files() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"{soft} now, up to {hard}; each socket takes one"
