"""Work queues: delivery at least once, to one consumer at a time, without losses."""

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
from tests.counting_sql import CountingSql
from tests.fakes import SetClock

MAIL, OTHER = "email", "notifications"
VISIBLE_S = 60


@dataclass
class QueueClock(SetClock):
    """The queue's clock: `slack_s` is its precision, `reports_age` whether the queue reports ages."""

    slack_s: float = 0.001
    reports_age: bool = True

    def is_now(self, moment: datetime) -> bool:
        return moment == self.now


@dataclass
class RunningClock(QueueClock):
    """The real clock, which tests can move forward."""

    cloud: Cloud | None = None
    slack_s: float = 1.5
    reports_age: bool = False

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
def clock(kind: str, cloud: Cloud) -> QueueClock:
    return QueueClock() if kind == "postgresql" else RunningClock(cloud=cloud)


@pytest_asyncio.fixture(loop_scope="session")
async def queue(kind: str, clock: QueueClock, pool: Database, cloud: Cloud) -> WorkQueue:
    if kind == "postgresql":
        return PostgresQueue(pool, clock=clock, new_id=uuid7)
    urls = {name: await cloud.work_queue(fifo=kind == "sqs-fifo") for name in (MAIL, OTHER)}
    return SqsQueue(cloud.client(SQS), urls, new_id=uuid7, wait_s=0)


async def received(queue: WorkQueue, *, limit: int = 10) -> list[Job]:
    return list(await queue.receive(MAIL, limit=limit, visibility_s=VISIBLE_S))


async def receive_one(queue: WorkQueue) -> Job:
    [job] = await received(queue)
    return job


async def fail_until_dead(queue: WorkQueue, clock: QueueClock, reason: str = "SMTPError") -> Job:
    """Let the only job fail until it is dead."""
    for _ in range(MAX_ATTEMPTS):
        job = await receive_one(queue)
        await queue.fail(job, reason)
        clock.advance(backoff_s(job.attempt))
    return job


async def test_a_job_is_received_from_its_queue_only(queue: WorkQueue, clock: QueueClock) -> None:
    await queue.send(MAIL, '{"to":"ana"}')
    assert await queue.receive(OTHER, limit=10, visibility_s=VISIBLE_S) == []
    job = await receive_one(queue)
    assert (job.queue, job.body, job.attempt) == (MAIL, '{"to":"ana"}', 1)
    assert clock.is_now(job.enqueued_at)


async def test_jobs_are_received_oldest_first_up_to_the_limit(queue: WorkQueue, clock: QueueClock) -> None:
    for number in range(5):
        await queue.send(MAIL, str(number))
        clock.advance(1)
    assert sorted(job.body for job in await received(queue, limit=2)) == ["0", "1"]
    assert sorted(job.body for job in await received(queue, limit=9)) == ["2", "3", "4"]


async def test_an_acknowledged_job_is_not_received_again(queue: WorkQueue, clock: QueueClock) -> None:
    await queue.send(MAIL, "{}")
    await queue.ack(await receive_one(queue))
    clock.advance(10 * VISIBLE_S)
    assert await received(queue) == []
    assert await queue.depths() == []


async def test_a_received_job_is_invisible_to_others(queue: WorkQueue, clock: QueueClock) -> None:
    await queue.send(MAIL, "{}")
    await receive_one(queue)
    clock.advance(VISIBLE_S - clock.slack_s)
    assert await received(queue) == []


async def test_a_job_whose_consumer_crashed_is_received_again(queue: WorkQueue, clock: QueueClock) -> None:
    await queue.send(MAIL, "{}")
    first = await receive_one(queue)
    clock.advance(VISIBLE_S)
    again = await receive_one(queue)
    assert (again.id, again.body, again.attempt) == (first.id, first.body, 2)


async def test_a_consumer_that_was_too_slow_can_neither_acknowledge_nor_fail(
    queue: WorkQueue, clock: QueueClock
) -> None:
    await queue.send(MAIL, "{}")
    slow = await receive_one(queue)
    clock.advance(VISIBLE_S)
    quick = await receive_one(queue)
    await queue.ack(slow)
    await queue.fail(slow, "TimeoutError")
    assert [(depth.waiting, depth.in_flight) for depth in await queue.depths()] == [(0, 1)]
    await queue.ack(quick)
    assert await queue.depths() == []


@pytest.mark.contract("jobs.mail.fix-asynchronous")
async def test_a_failed_job_waits_twice_as_long_each_time(queue: WorkQueue, clock: QueueClock) -> None:
    await queue.send(MAIL, "{}")
    for attempt in range(1, MAX_ATTEMPTS):
        job = await receive_one(queue)
        assert job.attempt == attempt
        await queue.fail(job, "SMTPError")
        clock.advance(backoff_s(attempt) - clock.slack_s)
        assert await received(queue) == []
        clock.advance(clock.slack_s)
    assert [backoff_s(n) for n in (1, 2, 3, 8, 9, 10, 50)] == [2, 4, 8, 256, 512, 600, 600]


async def test_a_job_that_always_fails_is_a_dead_letter_with_its_reason(
    queue: WorkQueue, clock: QueueClock
) -> None:
    await queue.send(MAIL, '{"n":1}')
    job = await fail_until_dead(queue, clock, "x" * 2 * MAX_REASON)
    clock.advance(10_000)
    assert await received(queue) == []
    assert [(depth.waiting, depth.in_flight, depth.dead) for depth in await queue.depths()] == [(0, 0, 1)]
    [(dead, reason)] = await queue.dead(MAIL, limit=5)
    assert (dead.id, dead.body, dead.attempt, reason) == (job.id, '{"n":1}', MAX_ATTEMPTS, "x" * MAX_REASON)
    assert await queue.dead(OTHER, limit=5) == []


async def test_a_queue_with_fewer_attempts_has_longer_delays(queue: WorkQueue, clock: QueueClock) -> None:
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


def test_the_retry_policy_is_found_by_queue_name_and_by_arn() -> None:
    few, many = retry_policy("notifications"), retry_policy("email")
    assert (few.attempts, many.attempts) == (5, MAX_ATTEMPTS)
    arn = "arn:aws:sqs:eu-west-1:000000000000:nomadcrew-dev-"
    assert (retry_policy(f"{arn}push"), retry_policy(f"{arn}email.fifo"), retry_policy(f"{arn}probe")) == (
        few,
        many,
        many,
    )


async def test_a_job_whose_consumers_all_crashed_is_a_dead_letter(queue: WorkQueue, clock: QueueClock) -> None:
    await queue.send(MAIL, "{}")
    for _ in range(MAX_ATTEMPTS):
        await receive_one(queue)
        clock.advance(VISIBLE_S)
    assert await received(queue) == []
    [(dead, reason)] = await queue.dead(None, limit=5)
    assert (dead.attempt, reason) == (MAX_ATTEMPTS, NO_ANSWER)


async def test_a_permanent_failure_is_a_dead_letter_at_once(queue: WorkQueue, clock: QueueClock) -> None:
    await queue.send(MAIL, "{}")
    await queue.fail(await receive_one(queue), "MailRefused", final=True)
    clock.advance(10_000)
    assert await received(queue) == []
    assert [reason for _, reason in await queue.dead(MAIL, limit=5)] == ["MailRefused"]


async def test_redriven_jobs_have_fresh_attempts(queue: WorkQueue, clock: QueueClock) -> None:
    await queue.send(MAIL, "{}")
    job = await fail_until_dead(queue, clock)
    assert await queue.redrive(OTHER) == 0
    assert await queue.redrive(MAIL) == 1
    again = await receive_one(queue)
    assert (again.id, again.attempt) == (job.id, 1)
    assert await queue.dead(None, limit=5) == []


async def test_one_dead_job_can_be_redriven_alone(queue: WorkQueue, clock: QueueClock) -> None:
    for body in "ab":
        await queue.send(MAIL, body)
        await queue.fail(await receive_one(queue), "MailRefused", final=True)
    [(chosen, _), (other, _)] = await queue.dead(MAIL, limit=5)
    assert await queue.redrive(MAIL, chosen.id) == 1
    assert await queue.redrive(MAIL, chosen.id) == 0
    assert (await receive_one(queue)).id == chosen.id
    assert [job.id for job, _ in await queue.dead(MAIL, limit=5)] == [other.id]


async def test_dead_jobs_are_listed_newest_first(queue: WorkQueue, clock: QueueClock) -> None:
    for body in "abc":
        await queue.send(MAIL, body)
        await queue.fail(await receive_one(queue), "MailRefused", final=True)
        clock.advance(1)
    assert [job.body for job, _ in await queue.dead(MAIL, limit=2)] == ["c", "b"]


async def test_concurrent_receivers_never_share_a_job(queue: WorkQueue) -> None:
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


async def test_depths_report_waiting_running_and_dead_jobs_with_the_oldest_age(
    queue: WorkQueue, clock: QueueClock
) -> None:
    await queue.send(MAIL, "a")
    clock.advance(30)
    await queue.send(MAIL, "b")
    await queue.send(OTHER, "c")
    await received(queue, limit=1)
    clock.advance(5)
    mail, other = await queue.depths()
    assert (mail.queue, mail.waiting, mail.in_flight, mail.dead) == (MAIL, 1, 1, 0)
    assert (other.queue, other.waiting, other.in_flight, other.dead) == (OTHER, 1, 0, 0)
    assert (mail.oldest_s, other.oldest_s) == ((35.0, 5.0) if clock.reports_age else (0.0, 0.0))


# A FIFO queue cannot delay single jobs.
@pytest.mark.parametrize("kind", ["postgresql", "sqs"], indirect=True)
async def test_a_job_can_be_delayed(queue: WorkQueue, clock: QueueClock) -> None:
    await queue.send(MAIL, "{}", delay_s=30)
    clock.advance(30 - clock.slack_s)
    assert await received(queue) == []
    clock.advance(clock.slack_s)
    await receive_one(queue)


# A standard queue does not detect duplicates.
@pytest.mark.parametrize("kind", ["postgresql", "sqs-fifo"], indirect=True)
async def test_a_job_sent_twice_with_one_id_is_received_once(queue: WorkQueue) -> None:
    for body in ("first", "second"):
        await queue.send(MAIL, body, job_id=JobId(UUID(int=7)))
    assert [job.body for job in await received(queue)] == ["first"]


async def test_jobs_that_are_sent_together_share_a_statement(pool: Database) -> None:
    sql, clock = CountingSql(pool), SetClock()
    queue, job_id = PostgresQueue(sql, clock=clock, new_id=uuid7), JobId(uuid7())
    await asyncio.gather(
        queue.send("a", "once", job_id=job_id), queue.send("a", "twice", job_id=job_id),
        queue.send("b", 'é "x" \\u0000', job_id=JobId(uuid7())), queue.send("a", "later", delay_s=9),
    )  # fmt: skip
    assert sql.statements == ["send"]
    assert [job.body for job in await queue.receive("a", limit=9, visibility_s=60)] == ["once"]
    assert [job.body for job in await queue.receive("b", limit=9, visibility_s=60)] == ['é "x" \\u0000']
    clock.advance(9)
    assert [job.body for job in await queue.receive("a", limit=9, visibility_s=60)] == ["later"]


async def test_a_job_can_be_redriven_right_after_it_was_sent(queue: WorkQueue, clock: QueueClock) -> None:
    """A queue that detects duplicates must not drop it."""
    await queue.send(MAIL, "{}", job_id=JobId(UUID(int=8)))
    for _ in range(2):
        job = await receive_one(queue)
        assert (job.id, job.attempt) == (JobId(UUID(int=8)), 1)
        await queue.fail(job, "MailRefused", final=True)
        assert await queue.redrive(MAIL) == 1


async def test_a_fifo_group_waits_for_its_first_job(cloud: Cloud) -> None:
    queue = SqsQueue(cloud.client(SQS), {MAIL: await cloud.work_queue(fifo=True)}, new_id=uuid7, wait_s=0)
    for group, body in (("a", "a1"), ("a", "a2"), ("b", "b1")):
        await queue.send(MAIL, body, group=group)
    [first] = await received(queue, limit=1)
    assert first.body == "a1"
    assert [job.body for job in await received(queue)] == ["b1"]
    await queue.ack(first)
    assert [job.body for job in await received(queue)] == ["a2"]


async def test_an_event_of_the_bus_is_a_job_of_its_queue(cloud: Cloud) -> None:
    bus, url = await cloud.bus()
    queue = SqsQueue(cloud.client(SQS), {MAIL: url}, new_id=uuid7, wait_s=0)
    entry = {"EventBusName": bus, "Source": "nomadcrew.todos", "DetailType": "Todo Created", "Detail": "{}"}
    await cloud.client(EVENTS).call("PutEvents", {"Entries": [entry]})
    job = await receive_one(queue)
    assert json.loads(job.body)["detail-type"] == "Todo Created"
    await queue.ack(job)
    assert await received(queue) == []
