"""Loops beside the requests: work queues, the scheduler, the sockets' clock."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from nomadcrew.api.consumers import Consumer
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import Hopeless, Unavailable
from nomadcrew.core.ids import JobId
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job, WorkQueue
from nomadcrew.hosts.machine.sockets.hub import TICK_S, Hub

log = logging.getLogger("nomadcrew.background")

Beat = Callable[[], None]
RECEIVE = 10
VISIBILITY_S = 60
# A consumer that takes longer has lost its job to the next delivery anyway.
JOB_TIMEOUT_S = 50
POLL_S = 2.0
RESTART_S = 1.0


async def forever(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop until cancelled, again after whatever stops it: a bug in one must not take the others down."""
    while True:
        try:
            await loop()
        except Unavailable as error:
            log.warning("waiting for the database", extra={"fields": {"loop": name, "reason": error.details}})
        except Exception:
            log.exception("a loop failed and starts again", extra={"fields": {"loop": name}})
        await asyncio.sleep(RESTART_S)


class Workers:
    """Consumes work queues: one loop each, several jobs at a time, each acknowledged once it is done."""

    def __init__(self, consumers: Mapping[str, Consumer]) -> None:
        self._consumers = consumers
        self._bells = {queue: asyncio.Event() for queue in consumers}

    @property
    def queues(self) -> Sequence[str]:
        return list(self._consumers)

    def wake(self, queues: Iterable[str]) -> None:
        """Have these queues looked at now; those that nobody consumes here are passed over."""
        for queue in queues:
            if queue in self._bells:
                self._bells[queue].set()

    async def run(self, queue: str, ports: Ports, beat: Beat) -> None:
        """Consume a queue until cancelled."""
        bell = self._bells[queue]
        while True:
            beat()
            bell.clear()
            jobs = await ports.queue.receive(queue, limit=RECEIVE, visibility_s=VISIBILITY_S)
            await asyncio.gather(*(self._consume(job, ports) for job in jobs))
            if len(jobs) == RECEIVE:
                continue  # there may be more
            try:
                await asyncio.wait_for(bell.wait(), POLL_S)
            except TimeoutError:
                continue

    async def _consume(self, job: Job, ports: Ports) -> None:
        try:
            async with asyncio.timeout(JOB_TIMEOUT_S):
                await self._consumers[job.queue](job, ports)
        except Exception as error:
            await self._failed(job, ports, error)
        else:
            await ports.queue.ack(job)

    async def _failed(self, job: Job, ports: Ports, error: Exception) -> None:
        fields = {"queue": job.queue, "job_id": str(job.id), "attempt": job.attempt}
        if isinstance(error, Unavailable | TimeoutError):
            log.warning("a job waits for its next attempt", extra={"fields": fields}, exc_info=error)
        else:
            log.error("a job failed", extra={"fields": fields}, exc_info=error)
        # The class alone: a message could hold an address, and dead jobs are listed.
        await ports.queue.fail(job, type(error).__name__, final=isinstance(error, Hopeless))


class RungQueue:
    """`WorkQueue` that says what was sent, so that nobody has to look for it."""

    def __init__(self, queue: WorkQueue, on_work: Callable[[Iterable[str]], None]) -> None:
        self._queue = queue
        self._on_work = on_work
        self.receive, self.ack, self.fail = queue.receive, queue.ack, queue.fail
        self.depths, self.dead, self.redrive = queue.depths, queue.dead, queue.redrive

    async def send(
        self, queue: str, body: str, *, job_id: JobId | None = None, group: str | None = None, delay_s: int = 0
    ) -> None:
        await self._queue.send(queue, body, job_id=job_id, group=group, delay_s=delay_s)
        if not delay_s:
            self._on_work([queue])


@dataclass(frozen=True, slots=True)
class Schedule:
    """Something to do every `every_s` seconds; safe to do twice."""

    name: str
    every_s: float
    run: Callable[[], Awaitable[int]]


async def run_schedule(schedule: Schedule, beat: Beat) -> None:
    """Run a schedule until cancelled, soon after the start and then at its pace."""
    await asyncio.sleep(random.uniform(0.5, 5))  # noqa: S311 — spreads load, guards nothing
    while True:
        started_s = time.monotonic()
        count = await schedule.run()
        if count:
            fields = {"schedule": schedule.name, "count": count, "seconds": round(time.monotonic() - started_s, 3)}
            log.info("scheduled work done", extra={"fields": fields})
        until_s = started_s + schedule.every_s
        while (left_s := until_s - time.monotonic()) > 0:
            beat()
            await asyncio.sleep(min(left_s, 10))


async def run_ticker(hub: Hub, clock: Clock, beat: Beat) -> None:
    """Keep idle sockets alive and end those whose token expired."""
    while True:
        beat()
        hub.tick(now=clock(), monotonic_s=time.monotonic())
        await asyncio.sleep(TICK_S)
