"""Shared by the commands: settings, and ports on the data folder with or without a running host."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import asyncpg
import click
import uvloop

from nomadcrew import logs
from nomadcrew.adapters.machine.mailer import SmtpServer
from nomadcrew.adapters.machine.rate_limits import parse_limits
from nomadcrew.adapters.mime import MailSender
from nomadcrew.adapters.noop import NoBroadcast, NoOutbox
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.core.errors import BadSetting
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import AlreadyRunning, StartupError
from nomadcrew.hosts.machine.http.client_address import TrustedProxies
from nomadcrew.hosts.machine.http.cors import Cors
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres
from nomadcrew.hosts.machine.server import address_of, database, migrated
from nomadcrew.hosts.machine.services import make_ports
from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.settings import Settings

T = TypeVar("T")


def read_settings(*, quiet: bool = True) -> Settings:
    """Settings from the environment, with logs set up; `quiet` logs warnings and errors only.

    Raises:
        BadSetting: a value is not valid.
    """
    settings = Settings.read(os.environ)
    _parse_all(settings)
    logs.set_up("WARNING" if quiet else settings.log_level.upper())
    return settings


def _parse_all(settings: Settings) -> None:
    """Parse each setting that an adapter or the host parses, so that a bad value fails before the start.

    Raises:
        BadSetting: a value is not valid.
    """
    parsers: tuple[tuple[str, Callable[[], object]], ...] = (
        ("NOMADCREW_RATE_LIMITS", lambda: parse_limits(settings.rate_limits)),
        ("NOMADCREW_MAIL_FROM", lambda: MailSender.parse(settings.mail_from)),
        ("NOMADCREW_SMTP_URL", lambda: settings.smtp_url and SmtpServer.parse(settings.smtp_url)),
        ("NOMADCREW_ALLOWED_ORIGINS", lambda: Cors(settings.allowed_origins)),
        ("NOMADCREW_TRUSTED_PROXIES", lambda: TrustedProxies(settings.trusted_proxies)),
    )
    for variable, parse in parsers:
        try:
            parse()
        except ValueError as error:
            raise BadSetting(f"{variable} is not valid: {error}") from None


def own_url(settings: Settings) -> str:
    """The URL of the server that these settings describe."""
    return settings.public_url or address_of(settings.host, settings.port)


def unusable(error: OSError) -> str:
    """The error message for a file or folder that the operating system refuses."""
    return f"{error.filename} cannot be used ({error.strerror}); check its owner and rights, and the disk."


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; SIGTERM cancels it, as Ctrl-C does.

    Raises:
        click.Abort: the command was cancelled.
    """

    async def cancellable() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(cancellable())
        except asyncio.CancelledError:
            raise click.Abort from None


def require_content(folder: DataFolder) -> None:
    """Raises StartupError: the folder is empty, so no server has been started on it."""
    if folder.is_empty():
        raise StartupError(
            f"{folder.home} is empty; set NOMADCREW_HOME to your data folder, "
            "or start the server once with `nomadcrew up`."
        )


@contextmanager
def same_user_only(folder: DataFolder) -> Iterator[None]:
    """Explain the failure if the block attaches to the PostgreSQL of a host that another OS user runs."""
    try:
        yield
    except StartupError as error:
        if isinstance(error.__cause__, asyncpg.InvalidAuthorizationSpecificationError):
            raise StartupError(
                f"The server on {folder.home} runs as another user; run this command as that user."
            ) from None
        raise


@asynccontextmanager
async def pool_on(settings: Settings, folder: DataFolder, *, migrating: bool = True) -> AsyncIterator[Database]:
    """A pool on the folder's database: the running host's PostgreSQL, else one started for this command.

    Args:
        migrating: apply new migrations if PostgreSQL is started.

    Raises:
        StartupError: the data folder is missing or not usable.
    """
    binaries = find_binaries(settings.postgres_bin)
    folder.check(binaries.major)
    require_content(folder)
    try:
        with folder.lock("a command"):
            async with database(settings, folder) as (_, pool):
                if migrating:
                    await migrated(pool)
                yield pool
            return
    except AlreadyRunning:
        pass
    postgres = EmbeddedPostgres(folder, binaries, postgres_user=settings.postgres_user)
    with same_user_only(folder):
        await postgres.attach()
    pool = Database(postgres.connect_kwargs, size=2)
    yield pool
    await pool.close()


@asynccontextmanager
async def ports_on(settings: Settings) -> AsyncIterator[Ports]:
    """Ports on the data folder, as the API's routes have them."""
    folder = DataFolder(settings.home)
    async with pool_on(settings, folder) as pool:
        yield make_ports(
            settings, folder, pool, url=own_url(settings), outbox=NoOutbox(), connections=Hub(),
            broadcaster=NoBroadcast(), on_session_end=lambda _: None,
        )  # fmt: skip


def with_ports(work: Callable[[Ports], Awaitable[T]]) -> T:
    """Run `work` with ports on the data folder."""

    async def main() -> T:
        async with ports_on(read_settings()) as ports:
            return await work(ports)

    return run(main())
