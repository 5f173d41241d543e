"""The two halves of the machine host: services that run once, and request servers, one per process."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from nomadcrew.adapters.machine.disk import try_to_write
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.outbox import PostgresOutbox
from nomadcrew.adapters.postgres.presence import PostgresPresence
from nomadcrew.adapters.postgres.sessions import PostgresSessions
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.api.consumers import CONSUMERS
from nomadcrew.api.notifications.consumer import notify
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.core.clock import utc_now
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import SessionId, UserId
from nomadcrew.core.ports import Ports
from nomadcrew.core.scheduled_jobs import SCHEDULED_JOBS
from nomadcrew.hosts.machine.backup.backup import backup
from nomadcrew.hosts.machine.backup.schedule import ScheduledBackups
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.ended_sessions import EndedSessions
from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.hosts.machine.http.application import Application
from nomadcrew.hosts.machine.http.client_address import TrustedProxies
from nomadcrew.hosts.machine.http.connections import Connections
from nomadcrew.hosts.machine.http.cors import Cors
from nomadcrew.hosts.machine.http.downloads import Downloads
from nomadcrew.hosts.machine.http.health import Health, Heartbeat
from nomadcrew.hosts.machine.http.metrics import Metrics, MetricsPage
from nomadcrew.hosts.machine.open_files import most_connections
from nomadcrew.hosts.machine.outbox_relay import Relay
from nomadcrew.hosts.machine.passing_notifications import PassingNotifications
from nomadcrew.hosts.machine.ports import machine_ports
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres
from nomadcrew.hosts.machine.queue_consumers import (
    QueueConsumers,
    WakingQueue,
    forever,
    run_on_schedule,
    run_ticker,
)
from nomadcrew.hosts.machine.sockets.broadcast import Delivery, HubBroadcaster
from nomadcrew.hosts.machine.sockets.endpoint import SocketEndpoint
from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.hosts.machine.sockets.position_views import PositionViewBuffer
from nomadcrew.hosts.machine.sockets.presence import PresenceAnnouncer
from nomadcrew.settings import Settings
from nomadcrew.web.dispatch import Dispatcher

# Position views that a crash may lose, in seconds.
VIEWS_S = 2.0
_PING = compile_statement("ping", "SELECT 1")
Loop = Callable[[], Awaitable[None]]


def make_ports(settings: Settings, folder: DataFolder, pool: Database, **rest: Any) -> Ports:
    """The ports on a data folder, as `machine_ports` creates them; also for commands.

    Raises:
        StartupError: a key file is not usable.
    """
    try:
        return machine_ports(settings, folder.keys, folder.mail, folder.files, pool, **rest)
    except ValueError as error:
        raise StartupError(str(error)) from None
    except OSError as error:
        raise StartupError(
            f"{error.filename or folder.keys} cannot be used ({error.strerror}); "
            "start as the owner of the data folder, with free space on its disk."
        ) from None


class SharedServices:
    """The services that run once per machine: the relay, consumers of work queues, schedules, broadcasts."""

    def __init__(
        self,
        settings: Settings,
        folder: DataFolder,
        pool: Database,
        url: str,
        *,
        sockets: Delivery,
        hub: Hub,
        on_session_end: Callable[[SessionId], None],
        on_presence: Callable[[UserId, bool], None] = lambda _user_id, _online: None,
    ) -> None:
        """`sockets` are all sockets of this machine, `hub` those of this process.

        `on_presence` is called when a user goes online or offline.
        """
        self.metrics = Metrics()
        pool.on_statement = self.metrics.statement
        self._outbox = PostgresOutbox(
            pool,
            mirrors=settings.mirrors,
            pushes=settings.expo_url is not None,
            illustrates=settings.pexels_api_key is not None,
        )
        self.consumers = QueueConsumers(CONSUMERS)
        self.broadcaster = HubBroadcaster(self._outbox, sockets, self.metrics)
        self.relay = Relay(
            self._outbox, sockets, clock=utc_now, metrics=self.metrics, on_work=self.consumers.wake,
            on_event=self.broadcaster.outdated_by,
            on_passing=PassingNotifications(lambda event: notify(event, self.ports)).add,
        )  # fmt: skip
        self.presence = PostgresPresence(pool)
        ports = make_ports(
            settings, folder, pool, url=url, outbox=self.relay, connections=hub, broadcaster=self.broadcaster,
            on_session_end=on_session_end, presence=self.presence,
        )  # fmt: skip
        self.ports = replace(ports, queue=WakingQueue(ports.queue, self.consumers.wake), awake_sockets=sockets)
        self.presence_announcer = PresenceAnnouncer(
            self.presence, self.broadcaster, clock=utc_now, new_id=self.ports.new_id, on_change=on_presence
        )
        self.ended_sessions = EndedSessions(PostgresSessions(pool), self.ports.tokens, utc_now)
        self._backups = _backups(settings, folder)
        self.heartbeats = {name: Heartbeat() for name in ("relay", "presence", "sessions", *self.consumers.queues)}

    def loops(self) -> dict[str, Loop]:
        """The loops to run until the host stops, by name."""
        beats = {name: heartbeat.beat for name, heartbeat in self.heartbeats.items()}
        loops: dict[str, Loop] = {
            "relay": lambda: self.relay.run(beats["relay"]),
            "presence": lambda: self.presence_announcer.run(beats["presence"]),
            "sessions": lambda: self.ended_sessions.watch(beats["sessions"]),
        }
        for queue in self.consumers.queues:
            loops[f"queue {queue}"] = lambda queue=queue: self.consumers.run(queue, self.ports, beats[queue])  # type: ignore[misc]
        if self._backups is not None:
            loops["backups"] = self._backups.run
        for job in SCHEDULED_JOBS:
            loops[f"job {job.name}"] = lambda job=job: run_on_schedule(job, self.ports)  # type: ignore[misc]
        return loops

    async def finish(self) -> None:
        """Save presence and relay the remaining events; call when all writes have stopped. Skipped in an outage."""
        await self.presence_announcer.finish()
        with contextlib.suppress(Unavailable):
            while await self.relay.drain():
                pass

    async def refresh(self) -> None:
        """Update the gauges that need a query."""
        lag = await self._outbox.lag(now=utc_now())
        self.metrics.outbox(lag.pending, lag.oldest_s)
        self.metrics.queues(await self.ports.queue.depths())


def _backups(settings: Settings, folder: DataFolder) -> ScheduledBackups | None:
    if settings.backup_folder is None:
        return None
    binaries = find_binaries(settings.postgres_bin)

    async def make(target: Path) -> None:
        await backup(folder, EmbeddedPostgres(folder, binaries, postgres_user=settings.postgres_user), target)

    return ScheduledBackups(
        settings.backup_folder, make, every=settings.backup_period, keep=settings.backup_keep, clock=utc_now
    )


class RequestServer:
    """Serves HTTP, sockets, and the pages about the host."""

    def __init__(
        self,
        settings: Settings,
        pool: Database,
        hub: Hub,
        ports: Ports,
        metrics: Metrics,
        *,
        heartbeats: Mapping[str, Heartbeat] | None = None,
        silences: Callable[[], Awaitable[Mapping[str, float]]] | None = None,
        refresh: Callable[[], Awaitable[None]] | None = None,
        render: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        """`heartbeats` are those of loops in this process; `silences` returns those of another process.

        `refresh` updates gauges before `metrics` are rendered; `render` includes the metrics of other processes.
        """
        self._hub = hub
        self._views = PositionViewBuffer(ports.position_views, utc_now)
        hub.on_shown = self._views.record
        self._pulse = Heartbeat()
        cors, proxies = Cors(settings.allowed_origins), TrustedProxies(settings.trusted_proxies)
        self.connections = Connections(
            total=most_connections(), per_address=settings.connections_per_address, proxies=proxies
        )
        dispatcher = Dispatcher(ports, metrics.request)
        self.endpoint = SocketEndpoint(
            ports, hub, cors, on_count=metrics.sockets, refusal=dispatcher.refusal, proxies=proxies,
            per_address=self.connections.per_address,
        )  # fmt: skip
        self.application = Application(
            ALL_ROUTES,
            dispatcher,
            health=Health(
                lambda: pool.fetch(_PING),
                clock=utc_now,
                heartbeats={**(heartbeats or {}), "sockets": self._pulse},
                silences=silences,
                try_to_write=partial(try_to_write, settings.home / f".write-probe.{os.getpid()}"),
            ),
            metrics=MetricsPage(metrics, token=settings.metrics_token, refresh=refresh, render=render),
            cors=cors,
            proxies=proxies,
            observe=metrics.request,
            downloads=Downloads(ports),
            folder=settings.home,
        )

    def loops(self) -> dict[str, Loop]:
        return {
            "sockets": lambda: run_ticker(self._hub, utc_now, self._pulse.beat),
            "connections": self.connections.run,
            "views": self._save_views,
        }

    async def finish(self) -> None:
        """Save the remaining position views; call when no socket is open any more. Skipped in an outage."""
        with contextlib.suppress(Unavailable):
            await self._views.flush()

    async def _save_views(self) -> None:
        while True:
            await asyncio.sleep(VIEWS_S)
            await self._views.flush()


def start_tasks(loops: Mapping[str, Loop]) -> list["asyncio.Task[None]"]:
    """Start a task for each loop; each runs until it is cancelled."""
    return [asyncio.create_task(forever(name, loop), name=name) for name, loop in loops.items()]


async def cancel_tasks(tasks: list["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
