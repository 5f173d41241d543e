"""The one-machine host: PostgreSQL, migrations, HTTP and sockets, relay, workers and schedules in one process."""

import asyncio
import contextlib
import errno
import gc
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.migrations import MigrationError, migrate
from nomadcrew.adapters.postgres.outbox import PostgresOutbox
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.bootstrap.machine import machine_ports
from nomadcrew.core.clock import utc_now
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ports import Ports
from nomadcrew.functions.table import ALL_ROUTES
from nomadcrew.functions.workers import CONSUMERS
from nomadcrew.host.asgi import Application
from nomadcrew.host.background import Schedule, Workers, forever, run_schedule, run_ticker
from nomadcrew.host.binaries import find_binaries
from nomadcrew.host.cors import Cors
from nomadcrew.host.datafolder import DataFolder
from nomadcrew.host.health import Health, Heartbeat
from nomadcrew.host.hub import Hub
from nomadcrew.host.live import HubLive
from nomadcrew.host.metrics import Metrics, MetricsPage
from nomadcrew.host.postgres import EmbeddedPostgres
from nomadcrew.host.problems import CannotStart
from nomadcrew.host.proxies import TrustedProxies
from nomadcrew.host.relay import Relay
from nomadcrew.host.socket_endpoint import SocketEndpoint
from nomadcrew.settings import Settings
from nomadcrew.wire.dispatch import Dispatcher
from nomadcrew.wire.sockets import CLOSE_GOING_AWAY, MAX_FRAME_BYTES

log = logging.getLogger("nomadcrew.host")

DRAIN_S = 10.0
DAY_S = 86_400.0
HOUR_S = 3_600.0
# PostgreSQL goes on with a statement whose client gave up, and keeps its locks, unless it looks for the client.
SERVER_SETTINGS = {"client_connection_check_interval": "1000"}
_PING = compile_statement("ping", "SELECT 1")
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
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        what = _LISTEN_ADVICE.get(error.errno or 0, "name an address of this machine in HOST")
        raise CannotStart(f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}); {what}.") from None
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def database(settings: Settings, folder: DataFolder) -> AsyncIterator[tuple[EmbeddedPostgres, Database]]:
    """The data folder's PostgreSQL, started and stopped here, and a pool on it; also for commands."""
    postgres = EmbeddedPostgres(folder, find_binaries(settings.postgres_bin), postgres_user=settings.postgres_user)
    await postgres.start()
    try:
        pool = Database({**postgres.connect_kwargs, "server_settings": SERVER_SETTINGS})
        yield postgres, pool
        await pool.close()
    finally:
        await postgres.stop()


def wired(settings: Settings, folder: DataFolder, pool: Database, **rest: Any) -> Ports:
    """The ports on a data folder, as `machine_ports` makes them; also for commands.

    Raises:
        CannotStart: a key file cannot be used.
    """
    try:
        return machine_ports(settings, folder.keys, folder.mail, pool, **rest)
    except ValueError as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(
            f"{error.filename or folder.keys} cannot be used ({error.strerror}); "
            "start as the owner of the data folder, and with space on its disk."
        ) from None


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


class Machine:
    """Everything that runs beside uvicorn, wired to one set of ports."""

    def __init__(self, settings: Settings, folder: DataFolder, pool: Database, url: str) -> None:
        self.metrics = Metrics()
        self.hub = Hub()
        self.pool = pool
        pool.on_statement = self.metrics.statement
        self._outbox = PostgresOutbox(pool)
        self.workers = Workers(CONSUMERS)
        self.relay = Relay(self._outbox, self.hub, clock=utc_now, metrics=self.metrics, on_work=self.workers.wake)
        self.ports = wired(
            settings, folder, pool, url=url, outbox=self.relay, connections=self.hub,
            live=HubLive(self._outbox, self.hub, self.metrics), on_session_end=self.hub.end_session,
        )  # fmt: skip
        self._heartbeats = {name: Heartbeat() for name in ("relay", "sockets", *self.workers.queues)}
        cors = Cors(settings.allowed_origins)
        self.dispatcher = Dispatcher(self.ports, self.metrics.request)
        self.application = Application(
            ALL_ROUTES,
            self.dispatcher,
            websocket=SocketEndpoint(self.ports, self.hub, cors, on_count=self.metrics.sockets),
            health=Health(self._ping, clock=utc_now, heartbeats=self._heartbeats),
            metrics=MetricsPage(self.metrics, token=settings.metrics_token, refresh=self._refresh),
            cors=cors,
            proxies=TrustedProxies(settings.trusted_proxies),
            observe=self.metrics.request,
        )

    def loops(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs until the host stops, by name."""
        beats = {name: heartbeat.beat for name, heartbeat in self._heartbeats.items()}
        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "relay": lambda: self.relay.run(beats["relay"]),
            "sockets": lambda: run_ticker(self.hub, utc_now, beats["sockets"]),
        }
        for queue in self.workers.queues:
            loops[f"queue {queue}"] = lambda queue=queue: self.workers.run(queue, self.ports, beats[queue])  # type: ignore[misc]
        for schedule in self._schedules():
            loops[f"schedule {schedule.name}"] = lambda schedule=schedule: run_schedule(schedule, lambda: None)  # type: ignore[misc]
        return loops

    def _schedules(self) -> list[Schedule]:
        upkeep = self.ports.upkeep
        return [
            Schedule("old events", HOUR_S, lambda: upkeep.events(utc_now())),
            Schedule("old notifications", DAY_S, lambda: upkeep.notifications(utc_now())),
            Schedule("old replies", 60.0, lambda: upkeep.replays(utc_now())),
            Schedule("old sessions", HOUR_S, lambda: self.ports.sessions.forget_expired(now=utc_now())),
            Schedule("old registrations", HOUR_S, lambda: self.ports.abandoned.forget_expired(now=utc_now())),
            Schedule("old dead jobs", DAY_S, lambda: upkeep.dead_jobs(utc_now())),
            Schedule("old positions", HOUR_S, lambda: upkeep.positions(utc_now())),
            Schedule("expired sharing", 15.0, self._end_sharing),
        ]

    async def _end_sharing(self) -> int:
        ended = await self.ports.upkeep.sharing(utc_now())
        if ended:
            await self.relay.written()
        return ended

    async def _ping(self) -> None:
        await self.pool.fetch(_PING)

    async def _refresh(self) -> None:
        """Bring the gauges that must be asked for up to date."""
        lag = await self._outbox.lag(now=utc_now())
        self.metrics.outbox(lag.pending, lag.oldest_s)
        self.metrics.queues(await self.ports.queue.depths())


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, and leaves signals alone: stopping is a sequence of ours."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(settings: Settings, say: Callable[[Started], None]) -> None:
    """Run until told to stop, then drain.

    Raises:
        CannotStart: a sentence that says what to do.
    """
    started_s = time.monotonic()
    stop = _Stop()
    async with stop, AsyncExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(listen(settings)))
        address = address_of(*listener.getsockname()[:2])
        folder = DataFolder(settings.home)
        binaries = find_binaries(settings.postgres_bin)
        folder.check(binaries.major)
        first = folder.is_empty()
        folder.open(binaries.major)
        stack.enter_context(folder.lock(address))
        postgres, pool = await stack.enter_async_context(database(settings, folder))
        await migrated(pool)
        machine = Machine(settings, folder, pool, address)

        def ready() -> None:
            say(Started(address, machine.ports.site.public_url, time.monotonic() - started_s, first))

        await _run(machine, postgres, listener, stop.in_good_order(), ready)


async def _run(
    machine: Machine,
    postgres: EmbeddedPostgres,
    listener: socket.socket,
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    config = uvicorn.Config(
        machine.application,
        loop="none",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_interval=30,
        ws_ping_timeout=20,
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=120,
        timeout_graceful_shutdown=int(DRAIN_S),
    )
    server = _Server(config, ready)
    _spare_the_collector()
    loops = [asyncio.create_task(forever(name, loop), name=name) for name, loop in machine.loops().items()]
    loops.append(asyncio.create_task(postgres.supervise(), name="postgres"))
    serving = asyncio.create_task(server.serve([listener]), name="http")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    await _drain(machine, server, serving)
    for task in (*loops, stopped):
        task.cancel()
    await asyncio.gather(*loops, stopped, return_exceptions=True)
    if serving.done():
        serving.result()  # what ended it, if that was not us


def _spare_the_collector() -> None:
    """Collect garbage a fiftieth as often, and never look again at what the imports made.

    A list of trips is some hundred short-lived objects without cycles, and the default threshold of 700 walks the
    heap several times for it: a fifth of such a request's CPU, measured.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


async def _drain(machine: Machine, server: uvicorn.Server, serving: "asyncio.Task[None]") -> None:
    """Let requests end, send sockets away so that they come back, publish the rest."""
    log.info("stopping: draining requests and sockets")
    machine.hub.close_all(CLOSE_GOING_AWAY, "server restarts")
    server.should_exit = True
    await asyncio.wait({serving}, timeout=DRAIN_S + 2)
    with contextlib.suppress(Unavailable):
        while await machine.relay.drain():
            pass


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
