"""A worker process: serves HTTP and sockets on a listening socket of the host, and asks the host for the rest."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import uvloop

from nomadcrew import logs
from nomadcrew.adapters.machine.rate_limits import ProcessRateLimits, parse_limits
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.presence import PostgresPresence
from nomadcrew.core.clock import utc_now
from nomadcrew.core.events import Event
from nomadcrew.core.ids import SessionId, TripId, UserId
from nomadcrew.core.rate_limits import Allowance
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.http.metrics import Metrics
from nomadcrew.hosts.machine.open_files import allow_open_files
from nomadcrew.hosts.machine.services import RequestServer, cancel_tasks, make_ports, start_tasks
from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.hosts.machine.sockets.presence import HERE
from nomadcrew.hosts.machine.uvicorn_server import Serving
from nomadcrew.hosts.machine.workers import ipc
from nomadcrew.hosts.machine.workers.ipc import ConnectionLost, IpcChannel, ids_in
from nomadcrew.hosts.machine.workers.rate_limits import Spent, WorkerRateLimits
from nomadcrew.settings import Settings
from nomadcrew.wire.events import pack

log = logging.getLogger("nomadcrew.worker")

WORKING_S = 5.0
_ALLOWED = Allowance(allowed=True, limit=0, remaining=0, reset_s=0, retry_after_s=0)


class SupervisorOutbox:
    """`Outbox` whose relay is in the host."""

    def __init__(self, host: IpcChannel) -> None:
        self._host = host
        self._wake_scheduled = False

    def before_write(self) -> None:
        """Nothing to prepare: the host polls every second."""

    async def after_commit(self, *, has_events: bool = True) -> None:
        if has_events and not self._wake_scheduled:
            # Once for all writes in this iteration of the event loop.
            self._wake_scheduled = True
            asyncio.get_running_loop().call_soon(self._wake)

    async def sweep(self) -> int:
        await self.after_commit()
        return 0

    def _wake(self) -> None:
        self._wake_scheduled = False
        self._host.send(ipc.Committed())


class SupervisorBroadcaster:
    """`Broadcaster` through the host, which knows all sockets and paces the events of all workers."""

    def __init__(self, host: IpcChannel, presence: PostgresPresence) -> None:
        """`presence` has the users with a socket in any worker, as the host reports them."""
        self._host = host
        self._presence = presence

    def has_listeners(self) -> bool:
        return self._presence.is_any_online()

    async def broadcast(self, event: Event, *, latest_of: str | None = None) -> None:
        self._host.send(ipc.Broadcast(pack(event), latest_of))

    async def send_to(self, event: Event, user_ids: Sequence[UserId]) -> None:
        self._host.send(ipc.Broadcast(pack(event), None, b"".join(person.bytes for person in user_ids)))


class SupervisorRateLimits:
    """`RateLimits` that the host counts for all workers."""

    def __init__(self, host: IpcChannel) -> None:
        self._host = host

    async def spend(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        try:
            return Allowance(*await self._host.ask(ipc.TakeLimit(bucket, key, cost)))
        except ConnectionLost:
            return _ALLOWED


class Worker:
    """The worker's state and its messages from and to the host."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.host = IpcChannel(self._on_message, self._answer, _exit_without_host)
        self.hub = Hub()
        self.hub.on_person = lambda user_id, here: self.host.send(ipc.UserConnection(user_id.bytes, here))
        self.metrics = Metrics()
        self.start: asyncio.Future[ipc.Start] = asyncio.get_running_loop().create_future()
        self.stop = asyncio.Event()
        self._limits: WorkerRateLimits | None = None
        self._presence: PostgresPresence | None = None
        # Presence changes received before the presence exists.
        self._early_messages: list[ipc.Online] = []
        self._sessions: asyncio.Queue[SessionId] = asyncio.Queue()

    async def run(self, listener: socket.socket) -> None:
        """Serve until the host sends `Drain`."""
        start = await self.start
        pool = Database(start.connect, size=start.pool_size, on_statement=self.metrics.statement)
        self._limits = self._shared_limits()
        presence = self._presence = PostgresPresence(pool)
        for message in self._early_messages:
            self._online(message)
        ports = make_ports(
            self._settings, DataFolder(self._settings.home), pool, url=start.address,
            outbox=SupervisorOutbox(self.host), connections=self.hub,
            broadcaster=SupervisorBroadcaster(self.host, presence),
            on_session_end=self._session_ended_here, limits=self._limits, presence=presence,
        )  # fmt: skip
        requests = RequestServer(
            self._settings, pool, self.hub, ports, self.metrics, silences=self._silences, render=self._render
        )

        async def revoke_sessions() -> None:
            while True:
                await ports.tokens.revoke(await self._sessions.get(), now=utc_now())

        loops = {**requests.loops(), "host": self._send_heartbeats, "sessions": revoke_sessions}
        tasks = start_tasks(loops)
        serving = Serving(requests, self.hub, listener, lambda: self.host.send(ipc.Ready()))
        stopped = asyncio.create_task(self.stop.wait())
        await asyncio.wait({serving.task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        await serving.drain()
        await cancel_tasks([*tasks, stopped])
        await requests.finish()
        await pool.close()

    def _shared_limits(self) -> WorkerRateLimits | None:
        limits = parse_limits(self._settings.rate_limits)
        if not limits:
            return None

        def report(spent: Sequence[Spent]) -> None:
            self.host.send(ipc.LimitsUsed(list(spent)))

        return WorkerRateLimits(limits, ProcessRateLimits(utc_now, limits), SupervisorRateLimits(self.host), report)

    def _session_ended_here(self, session_id: SessionId) -> None:
        self.hub.end_session(session_id)
        self.host.send(ipc.SessionEnded(session_id.bytes))

    def _on_message(self, message: ipc.IpcMessage) -> None:
        match message:
            case ipc.Deliver(frame, people, trip_id, shows):
                trip = None if trip_id is None else TripId(UUID(bytes=trip_id))
                owner = None if shows is None else UserId(UUID(bytes=shows))
                self.metrics.delivered(self.hub.deliver(frame, map(UserId, ids_in(people)), trip, owner))
            case ipc.SessionEnded(session_id):
                self._sessions.put_nowait(SessionId(UUID(bytes=session_id)))
            case ipc.LimitsUsed(spent) if self._limits is not None:
                self._limits.count_spent(spent)
            case ipc.Start():
                self.start.set_result(message)
            case ipc.Online():
                self._online(message)
            case ipc.Drain():
                self.stop.set()

    def _online(self, message: ipc.Online) -> None:
        if self._presence is None:
            self._early_messages.append(message)
            return
        change = self._presence.open if message.here else self._presence.close
        for user_id in map(UserId, ids_in(message.people)):
            change(user_id, HERE)

    async def _answer(self, about: ipc.IpcMessage) -> Any:
        if isinstance(about, ipc.MetricsQuery):
            return self.metrics.render().decode()
        if isinstance(about, ipc.AwakeQuery):
            awake = await self.hub.awake(map(UserId, ids_in(about.people)), TripId(UUID(bytes=about.trip_id)))
            return b"".join(user_id.bytes for user_id in awake)
        raise TypeError(f"the host asked for {type(about).__name__}")

    async def _send_heartbeats(self) -> None:
        """Send a heartbeat every few seconds."""
        while True:
            self.host.send(ipc.WorkerHeartbeat())
            await asyncio.sleep(WORKING_S)

    async def _silences(self) -> Mapping[str, float]:
        try:
            return dict(await self.host.ask(ipc.HeartbeatQuery()))
        except ConnectionLost:
            return {}

    async def _render(self) -> bytes:
        try:
            return str(await self.host.ask(ipc.MetricsQuery())).encode()
        except ConnectionLost:
            return self.metrics.render()


def _exit_without_host() -> None:
    """Exit at once: the next host needs the port, and this process stores nothing durable."""
    log.warning("connection to the host lost, exiting")
    os._exit(1)


async def serve(listener: socket.socket, line: socket.socket) -> None:
    allow_open_files()
    worker = Worker(Settings.read(os.environ))
    loop = asyncio.get_running_loop()
    # Ctrl-C reaches every process of a terminal; the host says when it is time.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    loop.add_signal_handler(signal.SIGTERM, worker.stop.set)
    await loop.create_unix_connection(lambda: worker.host, sock=line)
    await worker.run(listener)


def main() -> None:
    """Serve; the arguments are the file descriptors of the listening socket and of the socket to the host."""
    listener, line = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    listener.setblocking(False)
    logs.set_up(Settings.read(os.environ).log_level.upper())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(listener, line))
    os._exit(0)  # skip the callback that reports a lost host: closing the socket here is normal
