"""Limits of several workers: narrow ones counted in one place, the others by everybody, told within a moment."""

import asyncio
from collections.abc import Sequence

from nomadcrew.adapters.machine.limits import ProcessRateLimits
from nomadcrew.core.limits import LIMITS, Limit
from nomadcrew.hosts.machine.workers.rate_limits import TOLD_EVERY_S, Spent, WorkerRateLimits, guards
from tests.fakes import SetClock

WIDE, NARROW = Limit(100, 60), Limit(5, 900)
NUMBERS = {"default": WIDE, "failed_sign_in": NARROW}


class Crowd:
    """Workers of one host."""

    def __init__(self, count: int) -> None:
        self.clock = SetClock()
        self.host = ProcessRateLimits(self.clock, NUMBERS)
        self.told: list[Sequence[Spent]] = []
        self.workers = [self._worker(number) for number in range(count)]

    def _worker(self, number: int) -> WorkerRateLimits:
        def tell(spent: Sequence[Spent]) -> None:
            self.told.append(spent)
            for other in range(len(self.workers)):
                if other != number:
                    self.workers[other].count_spent(spent)

        return WorkerRateLimits(NUMBERS, ProcessRateLimits(self.clock, NUMBERS), self.host, tell)

    async def allowed(self, bucket: str, tries: int, *, key: str = "ana", pause: bool = False) -> int:
        """How many of so many requests are allowed, taken by the workers in turn."""
        count = 0
        for number in range(tries):
            count += (await self.workers[number % len(self.workers)].spend(bucket, key)).allowed
            if pause and number % len(self.workers) == 0:
                await asyncio.sleep(TOLD_EVERY_S * 1.5)
        return count


def test_what_guards_accounts_is_counted_in_one_place() -> None:
    assert {name for name, limit in LIMITS.items() if guards(limit)} >= {"sign_in", "failed_sign_in", "register"}
    assert not guards(LIMITS["default"])


async def test_a_narrow_limit_is_exact_in_whatever_moment() -> None:
    assert await Crowd(3).allowed("failed_sign_in", 60) == 5


async def test_a_wide_limit_is_kept_once_the_workers_have_heard_of_each_other() -> None:
    crowd = Crowd(3)
    assert 100 <= await crowd.allowed("default", 150) <= 150
    await asyncio.sleep(TOLD_EVERY_S * 2)
    assert await crowd.allowed("default", 50) == 0
    crowd.clock.advance(60)
    slowly = await Crowd(3).allowed("default", 120, pause=True)
    assert 100 <= slowly <= 104


async def test_what_is_spent_in_a_moment_is_told_in_one_message() -> None:
    crowd = Crowd(2)
    for _ in range(10):
        await crowd.workers[0].spend("default", "ana")
        await crowd.workers[0].spend("default", "ben", cost=2)
    await crowd.workers[0].spend("default", "cleo", cost=0)
    await asyncio.sleep(TOLD_EVERY_S * 2)
    assert crowd.told == [[("default", "ana", 10), ("default", "ben", 20)]]
    assert (await crowd.workers[1].spend("default", "ben")).remaining == 79
