"""The one-machine host: PostgreSQL, migrations, and what stands on them, in one process or in several."""

import asyncio
import errno
import logging
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.migrations import MigrationError, migrate
from nomadcrew.core.ids import UserId
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import CannotStart
from nomadcrew.hosts.machine.open_files import allow_open_files
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres
from nomadcrew.hosts.machine.services import Backstage, Front, cancelled, running
from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.hosts.machine.uvicorn_server import Serving
from nomadcrew.hosts.machine.workers.supervisor import Fleet
from nomadcrew.settings import Settings

log = logging.getLogger("nomadcrew.host")

# PostgreSQL goes on with a statement whose client gave up, and keeps its locks, unless it looks for the client.
SERVER_SETTINGS = {"client_connection_check_interval": "1000"}
_LISTEN_ADVICE = {
    errno.EADDRINUSE: "stop what uses it, or choose another with PORT",
    errno.EACCES: "ports below 1024 are root's, so choose another with PORT",
}


@dataclass(frozen=True, slots=True)
class Started:
    """What `serve` tells once requests are answered: where it listens, and how people reach it."""

    address: str
    public_url: str
    seconds: float
    first: bool


def listen(settings: Settings) -> socket.socket:
    """A listening socket, bound before anything else starts, so that a taken port costs nothing.

    Raises:
        CannotStart: the address is taken, or not this machine's.
    """
    return _bound(settings, settings.port, shared=False)


def listen_for_workers(settings: Settings) -> list[socket.socket]:
    """A listening socket for each worker, on one port, among which the kernel deals out connections evenly.

    Workers that waited at one socket would not be dealt to evenly: the kernel wakes whoever waits for the shortest
    time. Where it cannot deal, outside Linux, they do share one.

    Raises:
        CannotStart: as `listen`.
    """
    if not sys.platform.startswith("linux"):
        return [listen(settings)] * settings.workers
    # Sockets that share a port would let a second host join it, so it is tried alone first.
    with listen(settings) as alone:
        port = alone.getsockname()[1]
    return [_bound(settings, port, shared=True) for _ in range(settings.workers)]


def _bound(settings: Settings, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((settings.host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        what = _LISTEN_ADVICE.get(error.errno or 0, "name an address of this machine in HOST")
        raise CannotStart(f"Cannot listen on {settings.host}:{port} ({error.strerror}); {what}.") from None
    listener.setblocking(False)
    return listener


def database_at(postgres: EmbeddedPostgres) -> dict[str, Any]:
    """Arguments for a pool of this host's on a running PostgreSQL."""
    return {**postgres.connect_kwargs, "server_settings": SERVER_SETTINGS}


@asynccontextmanager
async def database(settings: Settings, folder: DataFolder) -> AsyncIterator[tuple[EmbeddedPostgres, Database]]:
    """The data folder's PostgreSQL, started and stopped here, and a pool on it; also for commands."""
    postgres = EmbeddedPostgres(folder, find_binaries(settings.postgres_bin), postgres_user=settings.postgres_user)
    await postgres.start()
    try:
        pool = Database(database_at(postgres))
        yield postgres, pool
        await pool.close()
    finally:
        await postgres.stop()


async def migrated(pool: Database) -> int:
    """Bring the schema up to date; returns how many migrations ran.

    Raises:
        CannotStart: the files and the database contradict each other.
    """
    patient = pool.patient()
    try:
        return len(await migrate(patient))
    except MigrationError as error:
        raise CannotStart(f"Cannot migrate: {error}.") from None
    finally:
        await patient.close()


async def serve(settings: Settings, say: Callable[[Started], None]) -> None:
    """Run until told to stop, then drain.

    Raises:
        CannotStart: a sentence that says what to do.
    """
    started_s = time.monotonic()
    allow_open_files()
    stop = _Stop()
    async with stop, AsyncExitStack() as stack:
        listeners = listen_for_workers(settings) if settings.workers > 1 else [listen(settings)]
        for listener in listeners:
            stack.callback(listener.close)
        address = address_of(*listeners[0].getsockname()[:2])
        folder = DataFolder(settings.home)
        binaries = find_binaries(settings.postgres_bin)
        folder.check(binaries.major)
        first = folder.is_empty()
        folder.open(binaries.major)
        stack.enter_context(folder.lock(address))
        postgres, pool = await stack.enter_async_context(database(settings, folder))
        await migrated(pool)
        public_url = settings.public_url or address

        def ready() -> None:
            say(Started(address, public_url, time.monotonic() - started_s, first))

        stopped = stop.in_good_order()
        if settings.workers > 1:
            await _with_workers(settings, folder, postgres, pool, listeners, address, stopped, ready)
        else:
            await _alone(settings, folder, postgres, pool, listeners[0], address, stopped, ready)


def _nobody_is_told(_user_id: UserId, _here: bool) -> None:
    """Who is sent away by a stop was here until then, and is on the way back."""


async def _alone(
    settings: Settings,
    folder: DataFolder,
    postgres: EmbeddedPostgres,
    pool: Database,
    listener: socket.socket,
    address: str,
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    """Everything in this process."""
    hub = Hub()
    back = Backstage(settings, folder, pool, address, sockets=hub, hub=hub, on_session_end=hub.end_session)
    front = Front(settings, pool, hub, back.ports, back.metrics, heartbeats=back.heartbeats, refresh=back.refresh)
    hub.on_person = back.teller.person
    tasks = [
        *running({**back.loops(), **front.loops()}),
        asyncio.create_task(postgres.supervise(), name="postgres"),
    ]
    serving = Serving(front.application, hub, listener, ready)
    stopped = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({serving.task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping: draining requests and sockets")
    hub.on_person = _nobody_is_told
    await serving.drain()
    await back.finish()
    await cancelled([*tasks, stopped])
    await front.finish()
    if serving.task.done():
        serving.task.result()  # what ended it, if that was not us


async def _with_workers(
    settings: Settings,
    folder: DataFolder,
    postgres: EmbeddedPostgres,
    pool: Database,
    listeners: list[socket.socket],
    address: str,
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    """What there is once in this process, HTTP and sockets in others."""
    fleet = Fleet(listeners, connect=database_at(postgres), address=address)
    back = Backstage(
        settings, folder, pool, address, sockets=fleet, hub=Hub(), on_session_end=fleet.end_session,
        on_presence=fleet.tell_online,
    )  # fmt: skip
    fleet.on_person = back.teller.person
    fleet.serve(back)
    tasks = running(back.loops())
    tasks.append(asyncio.create_task(postgres.supervise(), name="postgres"))
    try:
        await fleet.start()
        ready()
        await stop.wait()
        log.info("stopping: draining requests and sockets")
        fleet.on_person = _nobody_is_told
    finally:
        await fleet.drain()
    await back.finish()
    await cancelled(tasks)


def address_of(host: str, port: int) -> str:
    """The web address of a server that listens there, for people on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


class _Stop:
    """What Ctrl-C, a service manager and a closed terminal bring about.

    A start is given up at once, for it has nothing to drain and may take minutes; what serves is told by an event.
    """

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self._starting = asyncio.current_task()

    def in_good_order(self) -> asyncio.Event:
        """From now on nothing is cut short."""
        self._starting = None
        return self._told

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._tell)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which is what nohup is for
            loop.add_signal_handler(signal.SIGHUP, self._tell)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is asyncio.CancelledError and self._told.is_set()

    def _tell(self) -> None:
        self._told.set()
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
