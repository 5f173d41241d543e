"""What a host is made of: a part behind, which there is once, and a part in front, of which there may be many."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.outbox import PostgresOutbox
from nomadcrew.adapters.postgres.presence import PostgresPresence
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.api.consumers import CONSUMERS
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.core.chat.attachments import forget_files
from nomadcrew.core.clock import utc_now
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import SessionId, UserId
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import CannotStart
from nomadcrew.hosts.machine.http.asgi import Application
from nomadcrew.hosts.machine.http.client_address import TrustedProxies
from nomadcrew.hosts.machine.http.cors import Cors
from nomadcrew.hosts.machine.http.downloads import Downloads
from nomadcrew.hosts.machine.http.health import Health, Heartbeat
from nomadcrew.hosts.machine.http.metrics import Metrics, MetricsPage
from nomadcrew.hosts.machine.outbox_relay import Relay
from nomadcrew.hosts.machine.ports import machine_ports
from nomadcrew.hosts.machine.queue_consumers import RungQueue, Schedule, Workers, forever, run_schedule, run_ticker
from nomadcrew.hosts.machine.sockets.broadcast import Delivery, HubLive
from nomadcrew.hosts.machine.sockets.endpoint import SocketEndpoint
from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.hosts.machine.sockets.presence import PresenceTeller
from nomadcrew.hosts.machine.sockets.view_log import Heard
from nomadcrew.settings import Settings
from nomadcrew.web.dispatch import Dispatcher

DAY_S = 86_400.0
HOUR_S = 3_600.0
# How late others hear that somebody's sharing has expired; readers see it at once.
EXPIRY_S = 15.0
# How much of who heard a position a crash may forget.
VIEWS_S = 2.0
_PING = compile_statement("ping", "SELECT 1")
Loop = Callable[[], Awaitable[None]]


def wired(settings: Settings, folder: DataFolder, pool: Database, **rest: Any) -> Ports:
    """The ports on a data folder, as `machine_ports` makes them; also for commands.

    Raises:
        CannotStart: a key file cannot be used.
    """
    try:
        return machine_ports(settings, folder.keys, folder.mail, folder.files, pool, **rest)
    except ValueError as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(
            f"{error.filename or folder.keys} cannot be used ({error.strerror}); "
            "start as the owner of the data folder, and with space on its disk."
        ) from None


class Backstage:
    """What there is once on a machine: the relay, the work queues' consumers, the schedules, what is told live."""

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
        """`sockets` are all there are, `hub` holds those of this process.

        `on_presence` is told who is online from now on, and who no longer is.
        """
        self.metrics = Metrics()
        pool.on_statement = self.metrics.statement
        self._outbox = PostgresOutbox(pool, mirrors=settings.mirrors)
        self.workers = Workers(CONSUMERS)
        self.live = HubLive(self._outbox, sockets, self.metrics)
        self.relay = Relay(
            self._outbox, sockets, clock=utc_now, metrics=self.metrics, on_work=self.workers.wake,
            on_event=self.live.outdated_by,
        )  # fmt: skip
        self.presence = PostgresPresence(pool)
        ports = wired(
            settings, folder, pool, url=url, outbox=self.relay, connections=hub, live=self.live,
            on_session_end=on_session_end, presence=self.presence,
        )  # fmt: skip
        self.ports = replace(ports, queue=RungQueue(ports.queue, self.workers.wake))
        self.teller = PresenceTeller(
            self.presence, self.live, clock=utc_now, new_id=self.ports.new_id, on_change=on_presence
        )
        self.heartbeats = {name: Heartbeat() for name in ("relay", "presence", *self.workers.queues)}

    def loops(self) -> dict[str, Loop]:
        """What runs until the host stops, by name."""
        beats = {name: heartbeat.beat for name, heartbeat in self.heartbeats.items()}
        loops: dict[str, Loop] = {
            "relay": lambda: self.relay.run(beats["relay"]),
            "presence": lambda: self.teller.run(beats["presence"]),
        }
        for queue in self.workers.queues:
            loops[f"queue {queue}"] = lambda queue=queue: self.workers.run(queue, self.ports, beats[queue])  # type: ignore[misc]
        for schedule in self._schedules():
            loops[f"schedule {schedule.name}"] = lambda schedule=schedule: run_schedule(schedule, lambda: None)  # type: ignore[misc]
        return loops

    async def finish(self) -> None:
        """Write down and relay what is left when nothing is written any more, unless there is an outage."""
        await self.teller.finish()
        with contextlib.suppress(Unavailable):
            while await self.relay.drain():
                pass

    async def refresh(self) -> None:
        """Bring the gauges that must be asked for up to date."""
        lag = await self._outbox.lag(now=utc_now())
        self.metrics.outbox(lag.pending, lag.oldest_s)
        self.metrics.queues(await self.ports.queue.depths())

    async def _end_sharing(self) -> int:
        ended = await self.ports.upkeep.sharing(utc_now())
        if ended:
            await self.relay.written()
        return ended

    async def _forget_files(self) -> int:
        ports = self.ports
        return await forget_files(attachments=ports.attachments, files=ports.files, now=utc_now())

    def _schedules(self) -> list[Schedule]:
        upkeep = self.ports.upkeep
        return [
            Schedule("old events", HOUR_S, lambda: upkeep.events(utc_now())),
            Schedule("old notifications", DAY_S, lambda: upkeep.notifications(utc_now())),
            Schedule("old push tokens", DAY_S, lambda: upkeep.push_tokens(utc_now())),
            Schedule("old pushes", HOUR_S, lambda: upkeep.push_sends(utc_now())),
            Schedule("old replies", 60.0, lambda: upkeep.replays(utc_now())),
            Schedule("old sessions", HOUR_S, lambda: self.ports.sessions.forget_expired(now=utc_now())),
            Schedule("old registrations", HOUR_S, lambda: self.ports.abandoned.forget_expired(now=utc_now())),
            Schedule("old positions", HOUR_S, lambda: upkeep.positions(utc_now())),
            Schedule("expired sharing", EXPIRY_S, self._end_sharing),
            Schedule("old files", HOUR_S, self._forget_files),
            Schedule("old dead jobs", DAY_S, lambda: upkeep.dead_jobs(utc_now())),
        ]


class Front:
    """What answers people: HTTP, sockets, and the pages about the host."""

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
        """`heartbeats` are of loops in this process, `silences` tells of those in another.

        `refresh` brings gauges up to date before `metrics` are shown; `render` shows those of other processes too.
        """
        self._hub = hub
        self._heard = Heard(ports.position_views, utc_now)
        hub.on_shown = self._heard.add
        self._pulse = Heartbeat()
        cors = Cors(settings.allowed_origins)
        dispatcher = Dispatcher(ports, metrics.request)
        self.application = Application(
            ALL_ROUTES,
            dispatcher,
            websocket=SocketEndpoint(ports, hub, cors, on_count=metrics.sockets, refusal=dispatcher.refusal),
            health=Health(
                lambda: pool.fetch(_PING),
                clock=utc_now,
                heartbeats={**(heartbeats or {}), "sockets": self._pulse},
                silences=silences,
            ),
            metrics=MetricsPage(metrics, token=settings.metrics_token, refresh=refresh, render=render),
            cors=cors,
            proxies=TrustedProxies(settings.trusted_proxies),
            observe=metrics.request,
            downloads=Downloads(ports),
        )

    def loops(self) -> dict[str, Loop]:
        return {
            "sockets": lambda: run_ticker(self._hub, utc_now, self._pulse.beat),
            "views": self._note_views,
        }

    async def finish(self) -> None:
        """Write down what is left once no socket hears anything more, unless there is an outage."""
        with contextlib.suppress(Unavailable):
            await self._heard.note()

    async def _note_views(self) -> None:
        while True:
            await asyncio.sleep(VIEWS_S)
            await self._heard.note()


def running(loops: Mapping[str, Loop]) -> list["asyncio.Task[None]"]:
    """Tasks that run these until they are cancelled."""
    return [asyncio.create_task(forever(name, loop), name=name) for name, loop in loops.items()]


async def cancelled(tasks: list["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
