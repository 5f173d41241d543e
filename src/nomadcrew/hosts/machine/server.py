"""The machine host: PostgreSQL, migrations and the services on top, in one process or several."""

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
from nomadcrew.hosts.machine.cores import available_cores, default_workers
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.hosts.machine.open_files import allow_open_files
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres
from nomadcrew.hosts.machine.services import RequestServer, SharedServices, cancel_tasks, start_tasks
from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.hosts.machine.uvicorn_server import Serving
from nomadcrew.hosts.machine.workers.supervisor import WorkerSupervisor
from nomadcrew.settings import Settings

log = logging.getLogger("nomadcrew.host")

# Without this, PostgreSQL continues a statement whose client has disconnected, and keeps its locks.
SERVER_SETTINGS = {"client_connection_check_interval": "1000"}
_LISTEN_ADVICE = {
    errno.EADDRINUSE: "stop the program that uses it, or choose another port with PORT",
    errno.EACCES: "ports below 1024 require root, so choose another port with PORT",
}


@dataclass(frozen=True, slots=True)
class Started:
    """Passed to `serve`'s callback once requests are accepted."""

    address: str
    public_url: str
    seconds: float
    first: bool
    workers: int


def listen(settings: Settings) -> socket.socket:
    """A listening socket. It is bound before any other start-up work, so that a port in use fails at once.

    Raises:
        StartupError: the address is in use, or is not an address of this machine.
    """
    return _bound(settings, settings.port, shared=False)


def listen_for_workers(settings: Settings, workers: int) -> list[socket.socket]:
    """A listening socket for each worker, all on one port; the kernel spreads connections over them.

    With a single socket, the kernel would favour the worker that started to wait last. Outside Linux, where the
    kernel cannot spread them, the workers share one socket.

    Raises:
        StartupError: as `listen`.
    """
    if not sys.platform.startswith("linux"):
        return [listen(settings)] * workers
    # Sockets that share a port would let a second host join it, so it is first bound exclusively.
    with listen(settings) as alone:
        port = alone.getsockname()[1]
    return [_bound(settings, port, shared=True) for _ in range(workers)]


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
        advice = _LISTEN_ADVICE.get(error.errno or 0, "set HOST to an address of this machine")
        raise StartupError(f"Cannot listen on {settings.host}:{port} ({error.strerror}); {advice}.") from None
    listener.setblocking(False)
    return listener


def database_at(postgres: EmbeddedPostgres) -> dict[str, Any]:
    """Arguments for a pool on a running PostgreSQL."""
    return {**postgres.connect_kwargs, "server_settings": SERVER_SETTINGS}


@asynccontextmanager
async def database(settings: Settings, folder: DataFolder) -> AsyncIterator[tuple[EmbeddedPostgres, Database]]:
    """The data folder's PostgreSQL, started and stopped by the block, and a pool on it; also for commands."""
    postgres = EmbeddedPostgres(folder, find_binaries(settings.postgres_bin), postgres_user=settings.postgres_user)
    await postgres.start()
    try:
        pool = Database(database_at(postgres))
        yield postgres, pool
        await pool.close()
    finally:
        await postgres.stop()


async def migrated(pool: Database) -> int:
    """Apply new migrations; returns their number.

    Raises:
        StartupError: the migration files and the database do not match.
    """
    patient = pool.long_timeout()
    try:
        return len(await migrate(patient))
    except MigrationError as error:
        raise StartupError(f"Cannot migrate: {error}.") from None
    finally:
        await patient.close()


async def serve(settings: Settings, say: Callable[[Started], None]) -> None:
    """Run until stopped, then drain.

    Raises:
        StartupError: the message says what to do.
    """
    started_s = time.monotonic()
    allow_open_files()
    stop = _Stop()
    async with stop, AsyncExitStack() as stack:
        workers = settings.workers or default_workers(available_cores())
        listeners = listen_for_workers(settings, workers) if workers > 1 else [listen(settings)]
        for listener in listeners:
            stack.callback(listener.close)
        address = address_of(*listeners[0].getsockname()[:2])
        folder = DataFolder(settings.home)
        binaries = find_binaries(settings.postgres_bin)
        folder.check(binaries.major)
        first = folder.is_empty()
        folder.open(binaries.major)
        stack.enter_context(folder.lock(address))
        cleaning = asyncio.create_task(asyncio.to_thread(folder.remove_partial_writes))
        stack.callback(cleaning.cancel)
        postgres, pool = await stack.enter_async_context(database(settings, folder))
        await migrated(pool)
        public_url = settings.public_url or address

        def ready() -> None:
            say(Started(address, public_url, time.monotonic() - started_s, first, workers))

        stopped = stop.in_good_order()
        if workers > 1:
            await _with_workers(settings, folder, postgres, pool, listeners, address, stopped, ready)
        else:
            await _alone(settings, folder, postgres, pool, listeners[0], address, stopped, ready)


def _not_announced(_user_id: UserId, _here: bool) -> None:
    """Used during a stop: a user whose socket closes then is about to reconnect, so is not announced as offline."""


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
    """Run everything in this process."""
    hub = Hub()
    services = SharedServices(settings, folder, pool, address, sockets=hub, hub=hub, on_session_end=hub.end_session)
    requests = RequestServer(
        settings,
        pool,
        hub,
        services.ports,
        services.metrics,
        heartbeats=services.heartbeats,
        refresh=services.refresh,
    )
    hub.on_person = services.presence_announcer.person
    await services.ended_sessions.read()
    tasks = [
        *start_tasks({**services.loops(), **requests.loops()}),
        asyncio.create_task(postgres.supervise(), name="postgres"),
    ]
    serving = Serving(requests, hub, listener, ready)
    stopped = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({serving.task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping: draining requests and sockets")
    hub.on_person = _not_announced
    await serving.drain()
    await services.finish()
    await cancel_tasks([*tasks, stopped])
    await requests.finish()
    if serving.task.done():
        serving.task.result()  # raises the server's error if it ended by itself


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
    """Run the services in this process, HTTP and sockets in workers."""
    supervisor = WorkerSupervisor(listeners, connect=database_at(postgres), address=address)
    services = SharedServices(
        settings, folder, pool, address, sockets=supervisor, hub=Hub(), on_session_end=supervisor.end_session,
        on_presence=supervisor.tell_online,
    )  # fmt: skip
    supervisor.on_person = services.presence_announcer.person
    supervisor.serve(services)
    await services.ended_sessions.read()
    tasks = start_tasks(services.loops())
    tasks.append(asyncio.create_task(postgres.supervise(), name="postgres"))
    try:
        await supervisor.start()
        ready()
        await stop.wait()
        log.info("stopping: draining requests and sockets")
        supervisor.on_person = _not_announced
    finally:
        await supervisor.drain()
    await services.finish()
    await cancel_tasks(tasks)


def address_of(host: str, port: int) -> str:
    """The URL of a server with this listening address, for users of this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


class _Stop:
    """Handles Ctrl-C, SIGTERM from a service manager, and a closed terminal.

    A start is cancelled at once: it has nothing to drain and may take minutes. A running server gets an event.
    """

    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self._starting = asyncio.current_task()

    def in_good_order(self) -> asyncio.Event:
        """The event that is set on a stop; from now on no task is cancelled."""
        self._starting = None
        return self._stopping

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._request_stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            loop.add_signal_handler(signal.SIGHUP, self._request_stop)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is asyncio.CancelledError and self._stopping.is_set()

    def _request_stop(self) -> None:
        self._stopping.set()
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
