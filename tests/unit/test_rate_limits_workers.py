"""Rate limits of several workers: strict ones are counted by the host, the others by each worker and exchanged."""

import asyncio
from collections.abc import Sequence
from typing import cast

from nomadcrew.adapters.machine.rate_limits import ProcessRateLimits
from nomadcrew.core.auth.failures import Origin, Target, check_within_limits
from nomadcrew.core.auth.ports import Codes
from nomadcrew.core.errors import TooMany
from nomadcrew.core.rate_limits import LIMITS, Limit
from nomadcrew.hosts.machine.workers.rate_limits import TOLD_EVERY_S, Spent, WorkerRateLimits, guards
from tests.fakes import SetClock

WIDE, NARROW = Limit(100, 60), Limit(5, 900)
NUMBERS = {"default": WIDE, "failed_sign_in": NARROW, "failed_sign_in_total": WIDE}


class WorkerGroup:
    """The workers of one host."""

    def __init__(self, count: int) -> None:
        self.clock = SetClock()
        self.host = ProcessRateLimits(self.clock, NUMBERS)
        self.messages: list[Sequence[Spent]] = []
        self.workers = [self._worker(number) for number in range(count)]

    def _worker(self, number: int) -> WorkerRateLimits:
        def tell(spent: Sequence[Spent]) -> None:
            self.messages.append(spent)
            for other in range(len(self.workers)):
                if other != number:
                    self.workers[other].count_spent(spent)

        return WorkerRateLimits(NUMBERS, ProcessRateLimits(self.clock, NUMBERS), self.host, tell)

    async def allowed(self, bucket: str, tries: int, *, key: str = "ana", pause: bool = False) -> int:
        """The number of allowed requests out of `tries`, which the workers receive in turn."""
        count = 0
        for number in range(tries):
            count += (await self.workers[number % len(self.workers)].spend(bucket, key)).allowed
            if pause and number % len(self.workers) == 0:
                await asyncio.sleep(TOLD_EVERY_S * 1.5)
        return count


def test_limits_that_guard_accounts_are_counted_by_the_host() -> None:
    guarding = {name for name, limit in LIMITS.items() if guards(limit)}
    assert guarding >= {"sign_in", "failed_sign_in", "failed_sign_in_total", "register"}
    assert not guarding & {"default", "bad_token", "chat", "positions"}


async def test_a_strict_limit_is_exact() -> None:
    assert await WorkerGroup(3).allowed("failed_sign_in", 60) == 5


async def test_concurrent_wrong_passwords_in_all_workers_are_tried_as_often_as_the_limit_allows() -> None:
    group, tried = WorkerGroup(3), 0

    async def guess() -> bool:
        nonlocal tried
        tried += 1
        await asyncio.sleep(0)
        return False

    async def attempt(number: int) -> bool:
        limits = group.workers[number % 3]
        return await check_within_limits(
            guess, Target("ana@example.org"), Origin("203.0.113.9"), limits=limits, codes=cast("Codes", None)
        )

    answers = await asyncio.gather(*map(attempt, range(30)), return_exceptions=True)
    assert tried == 5
    assert (answers.count(False), sum(isinstance(answer, TooMany) for answer in answers)) == (5, 25)


async def test_other_limits_are_exact_once_the_workers_have_exchanged_their_counts() -> None:
    group = WorkerGroup(3)
    assert 100 <= await group.allowed("default", 150) <= 150
    await asyncio.sleep(TOLD_EVERY_S * 2)
    assert await group.allowed("default", 50) == 0
    group.clock.advance(60)
    slowly = await WorkerGroup(3).allowed("default", 120, pause=True)
    assert 100 <= slowly <= 104


async def test_counts_are_exchanged_in_batches() -> None:
    group = WorkerGroup(2)
    for _ in range(10):
        await group.workers[0].spend("default", "ana")
        await group.workers[0].spend("default", "ben", cost=2)
    await group.workers[0].spend("default", "cleo", cost=0)
    await asyncio.sleep(TOLD_EVERY_S * 2)
    assert group.messages == [[("default", "ana", 10), ("default", "ben", 20)]]
    assert (await group.workers[1].spend("default", "ben")).remaining == 79
