"""Background loops: consumers of work queues, the scheduler, the ticker of the sockets."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from nomadcrew.api.consumers import Consumer
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import PermanentFailure, Unavailable
from nomadcrew.core.events import NOTIFICATIONS, PICTURES
from nomadcrew.core.ids import JobId
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job, WorkQueue
from nomadcrew.core.scheduled_jobs import ScheduledJob, run_scheduled_job
from nomadcrew.hosts.machine.signal import Signal
from nomadcrew.hosts.machine.sockets.hub import TICK_S, Hub

log = logging.getLogger("nomadcrew.background")

Beat = Callable[[], None]
# Jobs of a queue to consume at a time. Those that only ask the database share its statements; others call services.
RECEIVE = 10
# A picture at a time: each takes a processor and the memory of a decoder, and has the whole time of a job.
RECEIVE_OF = {NOTIFICATIONS: 100, PICTURES: 1}
VISIBILITY_S = 60
# Must be less than VISIBILITY_S: after that, the job is delivered again.
JOB_TIMEOUT_S = 50
POLL_S = 2.0
RESTART_S = 1.0
RECORD_S = 60.0


async def forever(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop until cancelled; restart it after an error, so that a bug in one loop does not stop the others."""
    while True:
        try:
            await loop()
        except Unavailable as error:
            log.warning("waiting for the database", extra={"fields": {"loop": name, "reason": error.details}})
        except Exception:
            log.exception("loop failed, restarting", extra={"fields": {"loop": name}})
        await asyncio.sleep(RESTART_S)


class QueueConsumers:
    """Consumes work queues: one loop per queue, several jobs at a time, each acknowledged when it is done."""

    def __init__(self, consumers: Mapping[str, Consumer]) -> None:
        self._consumers = consumers
        self._wake_events = {queue: Signal() for queue in consumers}

    @property
    def queues(self) -> Sequence[str]:
        return list(self._consumers)

    def wake(self, queues: Iterable[str]) -> None:
        """Poll these queues now; queues without a consumer here are ignored."""
        for queue in queues:
            if queue in self._wake_events:
                self._wake_events[queue].set()

    async def run(self, queue: str, ports: Ports, beat: Beat) -> None:
        """Consume a queue until cancelled."""
        wake_event = self._wake_events[queue]
        limit = RECEIVE_OF.get(queue, RECEIVE)
        while True:
            beat()
            wake_event.clear()
            jobs = await ports.queue.receive(queue, limit=limit, visibility_s=VISIBILITY_S)
            await asyncio.gather(*(self._consume(job, ports) for job in jobs))
            if len(jobs) == limit:
                continue  # there may be more jobs
            await wake_event.wait(POLL_S)

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
            log.warning("job failed, will be retried", extra={"fields": fields}, exc_info=error)
        else:
            log.error("job failed", extra={"fields": fields}, exc_info=error)
        # Only the class is stored: a message may contain an email address, and dead jobs are listed.
        await ports.queue.fail(job, type(error).__name__, final=isinstance(error, PermanentFailure))


class WakingQueue:
    """`WorkQueue` that reports the queues of new jobs, so that their consumers need not wait for the next poll."""

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


async def run_on_schedule(job: ScheduledJob, ports: Ports) -> None:
    """Run a scheduled job until cancelled: first within 5 s, then at its interval.

    Of runs with nothing to do, one is recorded every `RECORD_S`.
    """
    await asyncio.sleep(random.uniform(0.5, 5))  # noqa: S311 — spreads load, guards nothing
    recorded_s = -RECORD_S
    while True:
        started_s = time.monotonic()
        is_due = started_s - recorded_s >= RECORD_S
        count = await run_scheduled_job(job, ports, record=is_due)
        if is_due:
            recorded_s = started_s
        if count:
            fields = {"job": job.name, "count": count, "seconds": round(time.monotonic() - started_s, 3)}
            log.info("scheduled job done", extra={"fields": fields})
        await asyncio.sleep(max(0.0, started_s + job.every.total_seconds() - time.monotonic()))


async def run_ticker(hub: Hub, clock: Clock, beat: Beat) -> None:
    """Keep idle sockets alive and close those whose token has expired."""
    while True:
        beat()
        hub.tick(now=clock(), monotonic_s=time.monotonic())
        await asyncio.sleep(TICK_S)
