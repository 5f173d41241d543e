"""`nomadcrew routes`, `openapi`, `doctor`: what there is, and whether it would run."""

import json
import platform
import resource
import shutil
import sys
from collections.abc import Callable

import click

from nomadcrew import __version__
from nomadcrew.cli.context import read_settings
from nomadcrew.core.ports import Site
from nomadcrew.functions.table import ALL_ROUTES
from nomadcrew.host.binaries import find_binaries
from nomadcrew.host.datafolder import DataFolder
from nomadcrew.host.problems import CannotStart
from nomadcrew.host.server import listen
from nomadcrew.settings import Settings
from nomadcrew.wire.openapi import document


@click.command()
def routes() -> None:
    """List every endpoint: who may call it, and the rule it is subject to."""
    for route in sorted(ALL_ROUTES, key=lambda row: (row.path, row.method)):
        gate = f"{route.gate.resource} {route.gate.action}" if route.gate else ""
        click.echo(f"{route.method:<7} {route.path:<48} {route.auth:<7} {gate}")


@click.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document, as served at /openapi.json."""
    settings = read_settings()
    site = Site(public_url=settings.public_url or f"http://{settings.host}:{settings.port}")
    json.dump(document(ALL_ROUTES, site=site), sys.stdout, indent=2)
    click.echo()


@click.command()
def doctor() -> None:
    """Check whether the server would start here, and say what to do where it would not."""
    settings = read_settings()
    click.echo(f"NomadCrew {__version__}, Python {platform.python_version()}, {platform.platform()}")
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("settings", lambda: "all understood"),
        ("PostgreSQL", lambda: _postgres(settings)),
        ("data folder", lambda: _folder(settings)),
        ("address", lambda: _address(settings)),
        ("open files", _files),
    )
    failed = False
    for name, check in checks:
        try:
            click.echo(f"  ok    {name}: {check()}")
        except CannotStart as error:
            failed = True
            click.echo(f"  FAIL  {name}: {error}")
    if failed:
        raise CannotStart("The server would not start; see the lines marked FAIL.")


def _postgres(settings: Settings) -> str:
    binaries = find_binaries(settings.postgres_bin)
    return f"{binaries.version} in {binaries.postgres.parent}"


def _folder(settings: Settings) -> str:
    folder = DataFolder(settings.home)
    folder.check(find_binaries(settings.postgres_bin).major)
    parent = next(p for p in (folder.home, *folder.home.parents) if p.exists())
    free = shutil.disk_usage(parent).free / 2**30
    if folder.is_empty():
        return f"{folder.home} will be made, {free:.0f} GiB free"
    with folder.lock("doctor"):
        return f"{folder.home}, {free:.0f} GiB free, no host running"


def _address(settings: Settings) -> str:
    listen(settings).close()
    return f"{settings.host}:{settings.port} is free"


def _files() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"{soft} now, up to {hard}; each socket takes one"
