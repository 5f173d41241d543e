"""Supervises the workers: processes that answer HTTP and hold sockets, on one port.

Services that run once stay in the host: PostgreSQL, the relay, work queues, schedules, rate limits, presence. A
worker that dies is restarted; its clients reconnect to any worker.
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any
from uuid import UUID

from msgspec.structs import astuple

from nomadcrew.core.auth.model import ACCESS_LIFETIME
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import SessionId, TripId, UserId
from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.hosts.machine.http.metrics import REFRESH_TIMEOUT_S
from nomadcrew.hosts.machine.services import SharedServices
from nomadcrew.hosts.machine.uvicorn_server import DRAIN_S
from nomadcrew.hosts.machine.workers import ipc
from nomadcrew.hosts.machine.workers.ipc import ConnectionLost, IpcChannel, ids_in
from nomadcrew.hosts.machine.workers.metrics import merge_metrics
from nomadcrew.wire.events import unpack

log = logging.getLogger("nomadcrew.workers")

START_S = 60.0
WATCH_S = 5.0
SILENT_S = 30.0
# A worker that ended sooner than this is restarted after a pause.
SHORT_LIFE_S = 10.0
LONGEST_PAUSE_S = 30.0
# The cluster accepts forty connections; the others are for the host itself and for commands.
CONNECTIONS = 30
MOST_CONNECTIONS, LEAST_CONNECTIONS = 8, 2
PROGRAM = "from nomadcrew.hosts.machine.workers.worker import main; main()"


class _Worker:
    """One process, and the users with a socket there."""

    def __init__(self, process: asyncio.subprocess.Process, started_s: float) -> None:
        self.process = process
        self.started_s = self.last_message_s = started_s
        self.people: set[UserId] = set()
        self.channel: IpcChannel


class WorkerSupervisor:
    """All workers, one per listening socket; implements `Delivery` over them.

    The host keeps the listening sockets open, so that connections to a dead worker wait for its successor.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        *,
        connect: Mapping[str, Any],
        address: str,
    ) -> None:
        self._listeners = listeners
        pool_size = max(LEAST_CONNECTIONS, min(MOST_CONNECTIONS, CONNECTIONS // len(listeners)))
        self._start = ipc.Start(dict(connect), address, pool_size)
        # Called when a user's first socket in any worker opens, and when their last one closes.
        self.on_person: Callable[[UserId, bool], None] = lambda _user_id, _here: None
        self._workers: set[_Worker] = set()
        self._workers_of_user: dict[UserId, set[_Worker]] = {}
        self._ended: dict[SessionId, float] = {}
        self._ready = asyncio.Event()
        self._ready_count = 0
        self._stopping = asyncio.Event()
        self._supervisors: list[asyncio.Task[None]] = []
        self._services: SharedServices

    def serve(self, services: SharedServices) -> None:
        """Set the services that answer the workers' questions; call before `start`."""
        self._services = services

    async def start(self) -> None:
        """Start all workers.

        Raises:
            StartupError: a worker failed to start.
        """
        self._supervisors = [
            asyncio.create_task(self._supervise(listener), name=f"worker {number}")
            for number, listener in enumerate(self._listeners)
        ]
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait([ready, *self._supervisors], timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.is_set():
            ready.cancel()
            raise StartupError("A worker process could not be started; see the log above.")
        self._supervisors.append(asyncio.create_task(self._watch(), name="workers"))

    async def drain(self) -> None:
        """Tell all workers to drain and stop; kill those that do not stop in time."""
        self._stopping.set()
        for listener in self._listeners:
            listener.close()
        ending = [asyncio.create_task(worker.process.wait()) for worker in self._workers]
        for worker in self._workers:
            worker.channel.send(ipc.Drain())
        if ending:
            await asyncio.wait(ending, timeout=DRAIN_S + 4)
        for worker in self._workers:
            _kill(worker)
        for task in self._supervisors:
            task.cancel()
        await asyncio.gather(*ending, *self._supervisors, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._workers_of_user)

    def connected(self, user_ids: Iterable[UserId]) -> bool:
        return any(user_id in self._workers_of_user for user_id in user_ids)

    def deliver(
        self, frame: str, user_ids: Iterable[UserId], trip_id: TripId | None, shows: UserId | None = None
    ) -> int:
        people = self._by_worker(user_ids)
        trip = None if trip_id is None else trip_id.bytes
        owner = None if shows is None else shows.bytes
        for worker, theirs in people.items():
            worker.channel.send(ipc.Deliver(frame, bytes(theirs), trip, owner))
        return 0  # each worker counts its own

    async def awake(self, user_ids: Iterable[UserId], trip_id: TripId) -> frozenset[UserId]:
        """See `AwakeSockets`."""
        asked = [
            worker.channel.ask(ipc.AwakeQuery(bytes(people), trip_id.bytes))
            for worker, people in self._by_worker(user_ids).items()
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return frozenset(
            UserId(user_id) for answer in answers if isinstance(answer, bytes) for user_id in ids_in(answer)
        )

    def _by_worker(self, user_ids: Iterable[UserId]) -> dict[_Worker, bytearray]:
        """The users of each worker, as a concatenation of ids."""
        people: dict[_Worker, bytearray] = {}
        for user_id in user_ids:
            for worker in self._workers_of_user.get(user_id, ()):
                people.setdefault(worker, bytearray()).extend(user_id.bytes)
        return people

    def end_session(self, session_id: SessionId) -> None:
        """Make all workers refuse a session, including those that start within the lifetime of a token."""
        now_s = time.monotonic()
        if session_id in self._ended:
            return
        for stale in [session for session, until_s in self._ended.items() if until_s <= now_s]:
            del self._ended[stale]
        self._ended[session_id] = now_s + 2 * ACCESS_LIFETIME.total_seconds()
        self._send_to_all(ipc.SessionEnded(session_id.bytes))

    def tell_online(self, user_id: UserId, here: bool) -> None:
        """Send a user's presence to all workers."""
        self._send_to_all(ipc.Online(user_id.bytes, here))

    def _send_to_all(self, message: ipc.IpcMessage) -> None:
        for worker in self._workers:
            worker.channel.send(message)

    async def _supervise(self, listener: socket.socket) -> None:
        """Run one worker and restart it until the host stops."""
        short_lives = 0
        while not self._stopping.is_set():
            worker = await self._launch(listener)
            code = await worker.process.wait()
            self._forget(worker)
            if self._stopping.is_set():
                return
            if not self._ready.is_set():
                raise StartupError("A worker ended before it was ready.")
            short = time.monotonic() - worker.started_s < SHORT_LIFE_S
            short_lives = short_lives + 1 if short else 0
            log.warning("worker ended, restarting", extra={"fields": {"exit_code": code}})
            await asyncio.sleep(min(0.5 * 2**short_lives, LONGEST_PAUSE_S) if short else 0)

    async def _launch(self, listener: socket.socket) -> _Worker:
        own_end, worker_end = socket.socketpair()
        with worker_end:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, str(listener.fileno()), str(worker_end.fileno()),
                pass_fds=(listener.fileno(), worker_end.fileno()), stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )  # fmt: skip
        worker = _Worker(process, time.monotonic())

        def channel_end() -> IpcChannel:
            return IpcChannel(
                lambda message: self._on_message(worker, message), self._answer, lambda: self._forget(worker)
            )

        _, worker.channel = await asyncio.get_running_loop().create_unix_connection(channel_end, sock=own_end)
        self._workers.add(worker)
        worker.channel.send(self._start)
        for session_id in self._ended:
            worker.channel.send(ipc.SessionEnded(session_id.bytes))
        online = b"".join(user_id.bytes for user_id in self._services.presence.online())
        worker.channel.send(ipc.Online(online, True))
        return worker

    def _forget(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        worker.channel.close()
        for user_id in list(worker.people):
            self._person(worker, user_id, here=False)

    async def _watch(self) -> None:
        """Kill stuck workers; `_supervise` restarts them."""
        while True:
            await asyncio.sleep(WATCH_S)
            for worker in list(self._workers):
                silent_s = time.monotonic() - worker.last_message_s
                if silent_s > SILENT_S or worker.channel.waiting_bytes > ipc.MAX_WAITING_BYTES:
                    log.error("worker is stuck, killing it", extra={"fields": {"silent_s": round(silent_s)}})
                    _kill(worker)

    def _on_message(self, worker: _Worker, message: ipc.IpcMessage) -> None:
        worker.last_message_s = time.monotonic()
        match message:
            case ipc.Committed():
                self._services.relay.wake()
            case ipc.Broadcast(event, latest_of, people):
                recipients = None if people is None else list(map(UserId, ids_in(people)))
                self._services.broadcaster.enqueue(unpack(event), latest_of, recipients)
            case ipc.UserConnection(user_id, here):
                self._person(worker, UserId(UUID(bytes=user_id)), here=here)
            case ipc.SessionEnded(session_id):
                self.end_session(SessionId(UUID(bytes=session_id)))
            case ipc.LimitsUsed():
                for other in self._workers - {worker}:
                    other.channel.send(message)
            case ipc.Ready():
                self._ready_count += 1
                if self._ready_count == len(self._listeners):
                    self._ready.set()

    def _person(self, worker: _Worker, user_id: UserId, *, here: bool) -> None:
        workers = self._workers_of_user.setdefault(user_id, set())
        before = bool(workers)
        if here:
            worker.people.add(user_id)
            workers.add(worker)
        else:
            worker.people.discard(user_id)
            workers.discard(worker)
        if not workers:
            del self._workers_of_user[user_id]
        if before != bool(workers):
            self.on_person(user_id, here)

    async def _answer(self, about: ipc.IpcMessage) -> Any:
        match about:
            case ipc.TakeLimit(bucket, key, cost):
                return astuple(await self._services.ports.limits.spend(bucket, key, cost=cost))
            case ipc.HeartbeatQuery():
                return {name: heartbeat.silent_s for name, heartbeat in self._services.heartbeats.items()}
            case ipc.MetricsQuery():
                return await self._page()
            case _:
                raise TypeError(f"a worker asked for {type(about).__name__}")

    async def _page(self) -> str:
        """The metrics of all processes."""
        with contextlib.suppress(TimeoutError, Unavailable):
            await asyncio.wait_for(self._services.refresh(), REFRESH_TIMEOUT_S)
        pages = await asyncio.gather(*map(_metrics_of, list(self._workers)))
        return merge_metrics([self._services.metrics.render().decode(), *chain.from_iterable(pages)])


async def _metrics_of(worker: _Worker) -> list[str]:
    try:
        return [await worker.channel.ask(ipc.MetricsQuery())]
    except ConnectionLost:
        return []


def _kill(worker: _Worker) -> None:
    with contextlib.suppress(ProcessLookupError):
        worker.process.kill()
