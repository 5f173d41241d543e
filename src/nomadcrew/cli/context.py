"""What commands share: settings, and ports on the data folder whether or not a host is running."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvloop

from nomadcrew import logs
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.bootstrap import SilentOutbox, machine_ports
from nomadcrew.core.ports import Ports
from nomadcrew.host.binaries import find_binaries
from nomadcrew.host.datafolder import DataFolder
from nomadcrew.host.hub import Hub
from nomadcrew.host.postgres import EmbeddedPostgres
from nomadcrew.host.problems import CannotStart, HostRuns
from nomadcrew.host.server import database, migrated
from nomadcrew.settings import Settings

T = TypeVar("T")


def read_settings(*, quiet: bool = True) -> Settings:
    """Settings from the environment, with logs set up; `quiet` leaves warnings and worse.

    Raises:
        BadSetting: one cannot be used.
    """
    settings = Settings.read(os.environ)
    logs.set_up("WARNING" if quiet else settings.log_level.upper())
    return settings


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@asynccontextmanager
async def pool_on(settings: Settings, folder: DataFolder) -> AsyncIterator[Database]:
    """A pool on the folder's database: that of the running host, else started for the while.

    Raises:
        CannotStart: there is no data folder yet, or it cannot be used.
    """
    binaries = find_binaries(settings.postgres_bin)
    if folder.is_empty():
        raise CannotStart(f"There is nothing in {folder.home} yet; start the server once with `nomadcrew up`.")
    folder.check(binaries.major)
    try:
        with folder.lock("a command"):
            async with database(settings, folder) as (_, pool):
                await migrated(pool)
                yield pool
            return
    except HostRuns:
        pass
    postgres = EmbeddedPostgres(folder, binaries, postgres_user=settings.postgres_user)
    await postgres.attach()
    pool = Database(postgres.connect_kwargs, size=2)
    yield pool
    await pool.close()


@asynccontextmanager
async def ports_on(settings: Settings) -> AsyncIterator[Ports]:
    """Ports on the data folder, as handlers have them."""
    folder = DataFolder(settings.home)
    async with pool_on(settings, folder) as pool:
        yield machine_ports(
            settings, folder.keys, folder.mail, pool, url=f"http://{settings.host}:{settings.port}",
            outbox=SilentOutbox(), connections=Hub(), on_session_end=lambda _: None,
        )  # fmt: skip


def with_ports(work: Callable[[Ports], Awaitable[T]]) -> T:
    """Run `work` on the data folder's ports."""

    async def main() -> T:
        async with ports_on(read_settings()) as ports:
            return await work(ports)

    return run(main())
