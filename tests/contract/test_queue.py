"""The work queue's promise: at least once, one worker at a time, and nothing disappears."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from nomadcrew.adapters.aws.queue import SqsQueue
from nomadcrew.adapters.aws.sdk.services import EVENTS, SQS
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.queue import PostgresQueue
from nomadcrew.core.ids import JobId, uuid7
from nomadcrew.core.queues import MAX_ATTEMPTS, MAX_REASON, NO_ANSWER, Job, WorkQueue, backoff_s, retry_policy
from tests.contract.cloud import Cloud
from tests.fakes import SetClock

MAIL, OTHER = "email", "notifications"
VISIBLE_S = 60


@dataclass
class Time(SetClock):
    """The clock a queue goes by, which is told as exactly as `slack_s`; `tells_age` is whether the queue can."""

    slack_s: float = 0.001
    tells_age: bool = True

    def is_now(self, moment: datetime) -> bool:
        return moment == self.now


@dataclass
class RunningTime(Time):
    """A clock that runs, and is moved besides."""

    cloud: Cloud | None = None
    slack_s: float = 1.5
    tells_age: bool = False

    def advance(self, seconds: float) -> None:
        assert self.cloud is not None
        self.cloud.advance(seconds)

    def is_now(self, moment: datetime) -> bool:
        assert self.cloud is not None
        return abs(moment - datetime.now(UTC) - timedelta(seconds=self.cloud.aws.later_s)) < timedelta(seconds=10)


@pytest.fixture(params=["postgresql", "sqs", "sqs-fifo"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock(kind: str, cloud: Cloud) -> Time:
    return Time() if kind == "postgresql" else RunningTime(cloud=cloud)


@pytest_asyncio.fixture(loop_scope="session")
async def queue(kind: str, clock: Time, pool: Database, cloud: Cloud) -> WorkQueue:
    if kind == "postgresql":
        return PostgresQueue(pool, clock=clock, new_id=uuid7)
    urls = {name: await cloud.work_queue(fifo=kind == "sqs-fifo") for name in (MAIL, OTHER)}
    return SqsQueue(cloud.client(SQS), urls, new_id=uuid7, wait_s=0)


async def received(queue: WorkQueue, *, limit: int = 10) -> list[Job]:
    return list(await queue.receive(MAIL, limit=limit, visibility_s=VISIBLE_S))


async def one(queue: WorkQueue) -> Job:
    [job] = await received(queue)
    return job


async def die(queue: WorkQueue, clock: Time, reason: str = "SMTPError") -> Job:
    """Have the only job fail as often as it may."""
    for _ in range(MAX_ATTEMPTS):
        job = await one(queue)
        await queue.fail(job, reason)
        clock.advance(backoff_s(job.attempt))
    return job


async def test_what_is_sent_is_received_by_its_queue_alone(queue: WorkQueue, clock: Time) -> None:
    await queue.send(MAIL, '{"to":"ana"}')
    assert await queue.receive(OTHER, limit=10, visibility_s=VISIBLE_S) == []
    job = await one(queue)
    assert (job.queue, job.body, job.attempt) == (MAIL, '{"to":"ana"}', 1)
    assert clock.is_now(job.enqueued_at)


async def test_jobs_come_oldest_first_and_no_more_than_asked_for(queue: WorkQueue, clock: Time) -> None:
    for number in range(5):
        await queue.send(MAIL, str(number))
        clock.advance(1)
    assert sorted(job.body for job in await received(queue, limit=2)) == ["0", "1"]
    assert sorted(job.body for job in await received(queue, limit=9)) == ["2", "3", "4"]


async def test_an_acknowledged_job_never_comes_again(queue: WorkQueue, clock: Time) -> None:
    await queue.send(MAIL, "{}")
    await queue.ack(await one(queue))
    clock.advance(10 * VISIBLE_S)
    assert await received(queue) == []
    assert await queue.depths() == []


async def test_a_job_is_nobody_elses_while_it_is_worked_on(queue: WorkQueue, clock: Time) -> None:
    await queue.send(MAIL, "{}")
    await one(queue)
    clock.advance(VISIBLE_S - clock.slack_s)
    assert await received(queue) == []


async def test_a_job_whose_worker_died_comes_again(queue: WorkQueue, clock: Time) -> None:
    await queue.send(MAIL, "{}")
    first = await one(queue)
    clock.advance(VISIBLE_S)
    again = await one(queue)
    assert (again.id, again.body, again.attempt) == (first.id, first.body, 2)


async def test_a_worker_that_was_too_slow_can_neither_acknowledge_nor_fail(queue: WorkQueue, clock: Time) -> None:
    await queue.send(MAIL, "{}")
    slow = await one(queue)
    clock.advance(VISIBLE_S)
    quick = await one(queue)
    await queue.ack(slow)
    await queue.fail(slow, "TimeoutError")
    assert [(depth.waiting, depth.in_flight) for depth in await queue.depths()] == [(0, 1)]
    await queue.ack(quick)
    assert await queue.depths() == []


async def test_a_failed_job_waits_twice_as_long_each_time(queue: WorkQueue, clock: Time) -> None:
    await queue.send(MAIL, "{}")
    for attempt in range(1, MAX_ATTEMPTS):
        job = await one(queue)
        assert job.attempt == attempt
        await queue.fail(job, "SMTPError")
        clock.advance(backoff_s(attempt) - clock.slack_s)
        assert await received(queue) == []
        clock.advance(clock.slack_s)
    assert [backoff_s(n) for n in (1, 2, 3, 8, 9, 10, 50)] == [2, 4, 8, 256, 512, 600, 600]


async def test_a_job_that_fails_every_time_is_dead_and_kept_with_its_reason(queue: WorkQueue, clock: Time) -> None:
    await queue.send(MAIL, '{"n":1}')
    job = await die(queue, clock, "x" * 2 * MAX_REASON)
    clock.advance(10_000)
    assert await received(queue) == []
    assert [(depth.waiting, depth.in_flight, depth.dead) for depth in await queue.depths()] == [(0, 0, 1)]
    [(dead, reason)] = await queue.dead(MAIL, limit=5)
    assert (dead.id, dead.body, dead.attempt, reason) == (job.id, '{"n":1}', MAX_ATTEMPTS, "x" * MAX_REASON)
    assert await queue.dead(OTHER, limit=5) == []


async def test_a_queue_with_fewer_attempts_has_longer_pauses(queue: WorkQueue, clock: Time) -> None:
    await queue.send(OTHER, "{}")
    for attempt, wait_s in enumerate((5, 20, 80, 320, 600), start=1):
        assert backoff_s(attempt, OTHER) == wait_s
        [job] = await queue.receive(OTHER, limit=10, visibility_s=VISIBLE_S)
        assert job.attempt == attempt
        await queue.fail(job, "Unavailable")
        clock.advance(wait_s - clock.slack_s)
        assert await queue.receive(OTHER, limit=10, visibility_s=VISIBLE_S) == []
        clock.advance(clock.slack_s)
    assert await queue.receive(OTHER, limit=10, visibility_s=VISIBLE_S) == []
    [(dead, _)] = await queue.dead(OTHER, limit=5)
    assert dead.attempt == 5


def test_a_queue_is_known_by_its_name_and_by_its_arn() -> None:
    few, many = retry_policy("notifications"), retry_policy("email")
    assert (few.attempts, many.attempts) == (5, MAX_ATTEMPTS)
    arn = "arn:aws:sqs:eu-west-1:000000000000:nomadcrew-dev-"
    assert (retry_policy(f"{arn}push"), retry_policy(f"{arn}email.fifo"), retry_policy(f"{arn}probe")) == (
        few,
        many,
        many,
    )


async def test_a_job_whose_every_worker_died_is_dead_too(queue: WorkQueue, clock: Time) -> None:
    await queue.send(MAIL, "{}")
    for _ in range(MAX_ATTEMPTS):
        await one(queue)
        clock.advance(VISIBLE_S)
    assert await received(queue) == []
    [(dead, reason)] = await queue.dead(None, limit=5)
    assert (dead.attempt, reason) == (MAX_ATTEMPTS, NO_ANSWER)


async def test_a_hopeless_job_is_dead_at_once(queue: WorkQueue, clock: Time) -> None:
    await queue.send(MAIL, "{}")
    await queue.fail(await one(queue), "MailRefused", final=True)
    clock.advance(10_000)
    assert await received(queue) == []
    assert [reason for _, reason in await queue.dead(MAIL, limit=5)] == ["MailRefused"]


async def test_dead_jobs_are_sent_round_again_with_fresh_attempts(queue: WorkQueue, clock: Time) -> None:
    await queue.send(MAIL, "{}")
    job = await die(queue, clock)
    assert await queue.redrive(OTHER) == 0
    assert await queue.redrive(MAIL) == 1
    again = await one(queue)
    assert (again.id, again.attempt) == (job.id, 1)
    assert await queue.dead(None, limit=5) == []


async def test_one_dead_job_is_sent_round_again_alone(queue: WorkQueue, clock: Time) -> None:
    for body in "ab":
        await queue.send(MAIL, body)
        await queue.fail(await one(queue), "MailRefused", final=True)
    [(chosen, _), (other, _)] = await queue.dead(MAIL, limit=5)
    assert await queue.redrive(MAIL, chosen.id) == 1
    assert await queue.redrive(MAIL, chosen.id) == 0
    assert (await one(queue)).id == chosen.id
    assert [job.id for job, _ in await queue.dead(MAIL, limit=5)] == [other.id]


async def test_dead_jobs_are_listed_newest_first(queue: WorkQueue, clock: Time) -> None:
    for body in "abc":
        await queue.send(MAIL, body)
        await queue.fail(await one(queue), "MailRefused", final=True)
        clock.advance(1)
    assert [job.body for job, _ in await queue.dead(MAIL, limit=2)] == ["c", "b"]


async def test_many_receivers_at_once_share_the_jobs_and_never_one_job(queue: WorkQueue) -> None:
    for number in range(60):
        await queue.send(MAIL, str(number))

    async def work() -> list[Job]:
        done: list[Job] = []
        while jobs := await received(queue, limit=4):
            done += jobs
            for job in jobs:
                await queue.ack(job)
        return done

    shares = await asyncio.gather(*(work() for _ in range(6)))
    counts = Counter(job.id for share in shares for job in share)
    assert len(counts) == 60
    assert set(counts.values()) == {1}
    assert await queue.depths() == []


async def test_depths_tell_what_waits_what_is_worked_on_and_for_how_long(queue: WorkQueue, clock: Time) -> None:
    await queue.send(MAIL, "a")
    clock.advance(30)
    await queue.send(MAIL, "b")
    await queue.send(OTHER, "c")
    await received(queue, limit=1)
    clock.advance(5)
    mail, other = await queue.depths()
    assert (mail.queue, mail.waiting, mail.in_flight, mail.dead) == (MAIL, 1, 1, 0)
    assert (other.queue, other.waiting, other.in_flight, other.dead) == (OTHER, 1, 0, 0)
    assert (mail.oldest_s, other.oldest_s) == ((35.0, 5.0) if clock.tells_age else (0.0, 0.0))


# A queue that keeps an order delays all or none.
@pytest.mark.parametrize("kind", ["postgresql", "sqs"], indirect=True)
async def test_a_job_can_be_sent_for_later(queue: WorkQueue, clock: Time) -> None:
    await queue.send(MAIL, "{}", delay_s=30)
    clock.advance(30 - clock.slack_s)
    assert await received(queue) == []
    clock.advance(clock.slack_s)
    await one(queue)


# A standard queue does not look.
@pytest.mark.parametrize("kind", ["postgresql", "sqs-fifo"], indirect=True)
async def test_a_job_that_is_sent_twice_under_its_id_comes_once(queue: WorkQueue) -> None:
    for body in ("first", "second"):
        await queue.send(MAIL, body, job_id=JobId(UUID(int=7)))
    assert [job.body for job in await received(queue)] == ["first"]


async def test_a_dead_job_goes_round_again_right_after_it_was_sent(queue: WorkQueue, clock: Time) -> None:
    """A queue that looks for repeats must not take it for one."""
    await queue.send(MAIL, "{}", job_id=JobId(UUID(int=8)))
    for _ in range(2):
        job = await one(queue)
        assert (job.id, job.attempt) == (JobId(UUID(int=8)), 1)
        await queue.fail(job, "MailRefused", final=True)
        assert await queue.redrive(MAIL) == 1


async def test_in_a_queue_that_keeps_an_order_a_group_waits_for_its_first(cloud: Cloud) -> None:
    queue = SqsQueue(cloud.client(SQS), {MAIL: await cloud.work_queue(fifo=True)}, new_id=uuid7, wait_s=0)
    for group, body in (("a", "a1"), ("a", "a2"), ("b", "b1")):
        await queue.send(MAIL, body, group=group)
    [first] = await received(queue, limit=1)
    assert first.body == "a1"
    assert [job.body for job in await received(queue)] == ["b1"]
    await queue.ack(first)
    assert [job.body for job in await received(queue)] == ["a2"]


async def test_what_a_bus_puts_into_a_queue_is_a_job(cloud: Cloud) -> None:
    bus, url = await cloud.bus()
    queue = SqsQueue(cloud.client(SQS), {MAIL: url}, new_id=uuid7, wait_s=0)
    entry = {"EventBusName": bus, "Source": "nomadcrew.todos", "DetailType": "Todo Created", "Detail": "{}"}
    await cloud.client(EVENTS).call("PutEvents", {"Entries": [entry]})
    job = await one(queue)
    assert json.loads(job.body)["detail-type"] == "Todo Created"
    await queue.ack(job)
    assert await received(queue) == []
