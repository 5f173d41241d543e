"""Consumers of work queues: woken for what is theirs, and not asking for what is not there."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from nomadcrew.core.ids import JobId, uuid7
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.hosts.machine.queue_consumers import RECEIVE, QueueConsumers, WakingQueue
from tests.fakes import NOON, fake_ports


@dataclass
class Jobs:
    """`WorkQueue` in a list, as far as consumers use it; `asked` counts looks by queue."""

    waiting: list[Job] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    acked: list[Job] = field(default_factory=list)

    async def send(
        self, queue: str, body: str, *, job_id: JobId | None = None, group: str | None = None, delay_s: int = 0
    ) -> None:
        self.waiting.append(Job(JobId(uuid7()), queue, body, 1, NOON))

    async def receive(self, queue: str, *, limit: int, visibility_s: int) -> Sequence[Job]:
        self.asked.append(queue)
        taken = [job for job in self.waiting if job.queue == queue][:limit]
        self.waiting = [job for job in self.waiting if job not in taken]
        return taken

    async def ack(self, job: Job) -> None:
        self.acked.append(job)

    async def fail(self, job: Job, reason: str, *, final: bool = False) -> None:
        raise AssertionError(reason)

    async def depths(self) -> Sequence[object]:
        return []

    dead = redrive = depths


class Stage:
    """Consumers of mails, and of notes, each of which sends a mail."""

    def __init__(self) -> None:
        self.jobs = Jobs()
        self.workers = QueueConsumers({"mail": self._mail, "notes": self._note})
        self.queue = WakingQueue(self.jobs, self.workers.wake)  # type: ignore[arg-type]
        self.ports = fake_ports(queue=self.queue)
        self.mails: list[str] = []

    async def _mail(self, job: Job, ports: Ports) -> None:
        self.mails.append(job.body)

    async def _note(self, job: Job, ports: Ports) -> None:
        await ports.queue.send("mail", f"about {job.body}")

    async def __aenter__(self) -> "Stage":
        self._tasks = [
            asyncio.create_task(self.workers.run(queue, self.ports, lambda: None)) for queue in self.workers.queues
        ]
        await self.settled()
        self.jobs.asked.clear()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def settled(self) -> None:
        for _ in range(100):
            await asyncio.sleep(0)


async def test_what_a_consumer_sends_is_consumed_at_once() -> None:
    async with Stage() as stage:
        await stage.queue.send("notes", "a trip")
        await stage.settled()
        assert stage.mails == ["about a trip"]
        assert len(stage.jobs.acked) == 2


async def test_a_queue_that_got_nothing_is_not_asked() -> None:
    async with Stage() as stage:
        await stage.queue.send("mail", "hello")
        await stage.settled()
        assert (stage.mails, stage.jobs.asked) == (["hello"], ["mail"])
        stage.workers.wake(["nobody's"])
        await stage.settled()
        assert stage.jobs.asked == ["mail"]


async def test_a_full_hand_is_followed_by_another_look() -> None:
    async with Stage() as stage:
        for number in range(RECEIVE * 2 + 1):
            await stage.jobs.send("mail", str(number))
        stage.workers.wake(["mail"])
        await stage.settled()
        assert len(stage.mails) == RECEIVE * 2 + 1
        assert stage.jobs.asked == ["mail"] * 3


async def test_what_comes_while_jobs_are_done_is_not_missed() -> None:
    async with Stage() as stage:
        started, go = asyncio.Event(), asyncio.Event()
        mail = stage._mail

        async def slow(job: Job, ports: Ports) -> None:
            started.set()
            await go.wait()
            await mail(job, ports)

        stage.workers._consumers = {**stage.workers._consumers, "mail": slow}
        await stage.queue.send("mail", "first")
        await started.wait()
        await stage.queue.send("mail", "second")
        go.set()
        await stage.settled()
        assert stage.mails == ["first", "second"]


async def test_a_delayed_job_wakes_nobody() -> None:
    async with Stage() as stage:
        await stage.queue.send("mail", "later", delay_s=60)
        await stage.settled()
        assert stage.jobs.asked == []
