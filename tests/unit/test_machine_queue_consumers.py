"""Consumers of work queues: woken for their queue, without polling others."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from nomadcrew.core.ids import JobId, uuid7
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.hosts.machine.queue_consumers import RECEIVE, QueueConsumers, WakingQueue
from tests.fakes import NOON, fake_ports


@dataclass
class ListQueue:
    """`WorkQueue` in a list, as far as consumers use it; `receives` and `limits` record receives."""

    waiting: list[Job] = field(default_factory=list)
    receives: list[str] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    acked: list[Job] = field(default_factory=list)

    async def send(
        self, queue: str, body: str, *, job_id: JobId | None = None, group: str | None = None, delay_s: int = 0
    ) -> None:
        self.waiting.append(Job(JobId(uuid7()), queue, body, 1, NOON))

    async def receive(self, queue: str, *, limit: int, visibility_s: int) -> Sequence[Job]:
        self.receives.append(queue)
        self.limits[queue] = limit
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


async def test_jobs_are_consumed_by_the_hundred_by_ten_or_one_by_one() -> None:
    jobs = ListQueue()
    consumers = QueueConsumers(dict.fromkeys(("notifications", "email", "push", "mirror", "pictures"), _ignore))
    tasks = [
        asyncio.create_task(consumers.run(queue, fake_ports(queue=jobs), lambda: None))
        for queue in consumers.queues
    ]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert jobs.limits == {
        "notifications": 100, "email": RECEIVE, "push": RECEIVE, "mirror": RECEIVE, "pictures": 1,
    }  # fmt: skip


async def _ignore(_job: Job, _ports: Ports) -> None:
    return None


class Scenario:
    """Consumers of mails, and of notes that each send a mail."""

    def __init__(self) -> None:
        self.jobs = ListQueue()
        self.consumers = QueueConsumers({"mail": self._mail, "notes": self._note})
        self.queue = WakingQueue(self.jobs, self.consumers.wake)  # type: ignore[arg-type]
        self.ports = fake_ports(queue=self.queue)
        self.mails: list[str] = []

    async def _mail(self, job: Job, ports: Ports) -> None:
        self.mails.append(job.body)

    async def _note(self, job: Job, ports: Ports) -> None:
        await ports.queue.send("mail", f"about {job.body}")

    async def __aenter__(self) -> "Scenario":
        self._tasks = [
            asyncio.create_task(self.consumers.run(queue, self.ports, lambda: None))
            for queue in self.consumers.queues
        ]
        await self.settled()
        self.jobs.receives.clear()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def settled(self) -> None:
        for _ in range(100):
            await asyncio.sleep(0)


async def test_a_job_sent_by_a_consumer_is_consumed_at_once() -> None:
    async with Scenario() as scenario:
        await scenario.queue.send("notes", "a trip")
        await scenario.settled()
        assert scenario.mails == ["about a trip"]
        assert len(scenario.jobs.acked) == 2


async def test_a_queue_without_new_jobs_is_not_polled() -> None:
    async with Scenario() as scenario:
        await scenario.queue.send("mail", "hello")
        await scenario.settled()
        assert (scenario.mails, scenario.jobs.receives) == (["hello"], ["mail"])
        scenario.consumers.wake(["unknown"])
        await scenario.settled()
        assert scenario.jobs.receives == ["mail"]


async def test_a_full_batch_is_followed_by_another_receive() -> None:
    async with Scenario() as scenario:
        for number in range(RECEIVE * 2 + 1):
            await scenario.jobs.send("mail", str(number))
        scenario.consumers.wake(["mail"])
        await scenario.settled()
        assert len(scenario.mails) == RECEIVE * 2 + 1
        assert scenario.jobs.receives == ["mail"] * 3


async def test_a_job_sent_during_work_is_not_missed() -> None:
    async with Scenario() as scenario:
        started, go = asyncio.Event(), asyncio.Event()
        mail = scenario._mail

        async def slow(job: Job, ports: Ports) -> None:
            started.set()
            await go.wait()
            await mail(job, ports)

        scenario.consumers._consumers = {**scenario.consumers._consumers, "mail": slow}
        await scenario.queue.send("mail", "first")
        await started.wait()
        await scenario.queue.send("mail", "second")
        go.set()
        await scenario.settled()
        assert scenario.mails == ["first", "second"]


async def test_a_delayed_job_wakes_no_consumer() -> None:
    async with Scenario() as scenario:
        await scenario.queue.send("mail", "later", delay_s=60)
        await scenario.settled()
        assert scenario.jobs.receives == []
