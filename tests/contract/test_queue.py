"""The work queue's promise: at least once, one worker at a time, and nothing disappears."""

import asyncio
from collections import Counter

import pytest

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.queue import MAX_REASON, PostgresQueue
from nomadcrew.core.ids import uuid7
from nomadcrew.core.queues import MAX_ATTEMPTS, Job, WorkQueue, backoff_s
from tests.fakes import SetClock

MAIL, OTHER = "email", "notifications"
VISIBLE_S = 60


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def queue(pool: Database, clock: SetClock) -> WorkQueue:
    return PostgresQueue(pool, clock=clock, new_id=uuid7)


async def received(queue: WorkQueue, *, limit: int = 10) -> list[Job]:
    return list(await queue.receive(MAIL, limit=limit, visibility_s=VISIBLE_S))


async def one(queue: WorkQueue) -> Job:
    [job] = await received(queue)
    return job


async def die(queue: WorkQueue, clock: SetClock, reason: str = "SMTPError") -> Job:
    """Have the only job fail as often as it may."""
    for _ in range(MAX_ATTEMPTS):
        job = await one(queue)
        await queue.fail(job, reason)
        clock.advance(backoff_s(job.attempt))
    return job


async def test_what_is_sent_is_received_by_its_queue_alone(queue: WorkQueue, clock: SetClock) -> None:
    await queue.send(MAIL, '{"to":"ana"}')
    assert await queue.receive(OTHER, limit=10, visibility_s=VISIBLE_S) == []
    job = await one(queue)
    assert (job.queue, job.body, job.attempt, job.enqueued_at) == (MAIL, '{"to":"ana"}', 1, clock.now)


async def test_jobs_come_oldest_first_and_no_more_than_asked_for(queue: WorkQueue, clock: SetClock) -> None:
    for number in range(5):
        await queue.send(MAIL, str(number))
        clock.advance(1)
    assert sorted(job.body for job in await received(queue, limit=2)) == ["0", "1"]
    assert sorted(job.body for job in await received(queue, limit=9)) == ["2", "3", "4"]


async def test_an_acknowledged_job_never_comes_again(queue: WorkQueue, clock: SetClock) -> None:
    await queue.send(MAIL, "{}")
    await queue.ack(await one(queue))
    clock.advance(10 * VISIBLE_S)
    assert await received(queue) == []
    assert await queue.depths() == []


async def test_a_job_is_nobody_elses_while_it_is_worked_on(queue: WorkQueue, clock: SetClock) -> None:
    await queue.send(MAIL, "{}")
    await one(queue)
    clock.advance(VISIBLE_S - 1)
    assert await received(queue) == []


async def test_a_job_whose_worker_died_comes_again(queue: WorkQueue, clock: SetClock) -> None:
    await queue.send(MAIL, "{}")
    first = await one(queue)
    clock.advance(VISIBLE_S)
    again = await one(queue)
    assert (again.id, again.body, again.attempt) == (first.id, first.body, 2)


async def test_a_worker_that_was_too_slow_can_neither_acknowledge_nor_fail(
    queue: WorkQueue, clock: SetClock
) -> None:
    await queue.send(MAIL, "{}")
    slow = await one(queue)
    clock.advance(VISIBLE_S)
    quick = await one(queue)
    await queue.ack(slow)
    await queue.fail(slow, "TimeoutError")
    assert [(depth.waiting, depth.in_flight) for depth in await queue.depths()] == [(0, 1)]
    await queue.ack(quick)
    assert await queue.depths() == []


async def test_a_failed_job_waits_twice_as_long_each_time(queue: WorkQueue, clock: SetClock) -> None:
    await queue.send(MAIL, "{}")
    for attempt in range(1, MAX_ATTEMPTS):
        job = await one(queue)
        assert job.attempt == attempt
        await queue.fail(job, "SMTPError")
        clock.advance(backoff_s(attempt) - 0.001)
        assert await received(queue) == []
        clock.advance(0.001)
    assert [backoff_s(n) for n in (1, 2, 3, 8, 9, 10, 50)] == [2, 4, 8, 256, 512, 600, 600]


async def test_a_job_that_fails_every_time_is_dead_and_kept_with_its_reason(
    queue: WorkQueue, clock: SetClock
) -> None:
    await queue.send(MAIL, '{"n":1}')
    job = await die(queue, clock, "x" * 2 * MAX_REASON)
    clock.advance(10_000)
    assert await received(queue) == []
    assert [(depth.waiting, depth.in_flight, depth.dead) for depth in await queue.depths()] == [(0, 0, 1)]
    [(dead, reason)] = await queue.dead(MAIL, limit=5)
    assert (dead.id, dead.body, dead.attempt, reason) == (job.id, '{"n":1}', MAX_ATTEMPTS, "x" * MAX_REASON)
    assert await queue.dead(OTHER, limit=5) == []


async def test_a_job_whose_every_worker_died_is_dead_too(queue: WorkQueue, clock: SetClock) -> None:
    await queue.send(MAIL, "{}")
    for _ in range(MAX_ATTEMPTS):
        await one(queue)
        clock.advance(VISIBLE_S)
    assert await received(queue) == []
    [(dead, reason)] = await queue.dead(None, limit=5)
    assert (dead.attempt, reason) == (MAX_ATTEMPTS, "no answer in time")


async def test_a_hopeless_job_is_dead_at_once(queue: WorkQueue, clock: SetClock) -> None:
    await queue.send(MAIL, "{}")
    await queue.fail(await one(queue), "MailRefused", final=True)
    clock.advance(10_000)
    assert await received(queue) == []
    assert [reason for _, reason in await queue.dead(MAIL, limit=5)] == ["MailRefused"]


async def test_dead_jobs_are_sent_round_again_with_fresh_attempts(queue: WorkQueue, clock: SetClock) -> None:
    await queue.send(MAIL, "{}")
    job = await die(queue, clock)
    assert await queue.redrive(OTHER) == 0
    assert await queue.redrive(MAIL) == 1
    again = await one(queue)
    assert (again.id, again.attempt) == (job.id, 1)
    assert await queue.dead(None, limit=5) == []


async def test_one_dead_job_is_sent_round_again_alone(queue: WorkQueue, clock: SetClock) -> None:
    for body in "ab":
        await queue.send(MAIL, body)
        await queue.fail(await one(queue), "MailRefused", final=True)
    [(chosen, _), (other, _)] = await queue.dead(MAIL, limit=5)
    assert await queue.redrive(MAIL, chosen.id) == 1
    assert await queue.redrive(MAIL, chosen.id) == 0
    assert (await one(queue)).id == chosen.id
    assert [job.id for job, _ in await queue.dead(MAIL, limit=5)] == [other.id]


async def test_dead_jobs_are_listed_newest_first(queue: WorkQueue, clock: SetClock) -> None:
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


async def test_depths_tell_what_waits_what_is_worked_on_and_for_how_long(queue: WorkQueue, clock: SetClock) -> None:
    await queue.send(MAIL, "a")
    clock.advance(30)
    await queue.send(MAIL, "b")
    await queue.send(OTHER, "c")
    await received(queue, limit=1)
    clock.advance(5)
    mail, other = await queue.depths()
    assert (mail.queue, mail.waiting, mail.in_flight, mail.dead, mail.oldest_s) == (MAIL, 1, 1, 0, 35.0)
    assert (other.queue, other.waiting, other.in_flight, other.dead, other.oldest_s) == (OTHER, 1, 0, 0, 5.0)
