"""Token buckets, on a clock that is moved by hand."""

import re

import pytest

from nomadcrew.adapters.embedded.limits import ProcessRateLimits, Unlimited, parse_limits, rate_limits
from nomadcrew.core.limits import LIMITS, Allowance, Limit
from tests.fakes import SetClock

TEN_A_MINUTE = Limit(10, 60)


class Taker:
    """Ten a minute in the bucket `sign_in`."""

    def __init__(self, limit: Limit = TEN_A_MINUTE, *, max_keys: int = 1000) -> None:
        self.clock = SetClock()
        self.limits = ProcessRateLimits(self.clock, {"sign_in": limit}, max_keys=max_keys)

    async def take(self, key: str = "ana", *, cost: int = 1) -> Allowance:
        return await self.limits.take("sign_in", key, cost=cost)

    async def spend(self, count: int, key: str = "ana") -> list[bool]:
        return [(await self.take(key)).allowed for _ in range(count)]


async def test_a_full_bucket_is_a_burst_as_large_as_the_number() -> None:
    taker = Taker()
    assert await taker.spend(11) == [True] * 10 + [False]


@pytest.mark.parametrize("limit", [Limit(7, 60), Limit(600, 60), Limit(1, 3600), Limit(1000, 1), Limit(3, 900)])
async def test_the_burst_is_exact_whatever_the_numbers_and_the_uptime(limit: Limit) -> None:
    taker = Taker(limit)
    taker.clock.advance(86_400 * 400 + 0.123457)
    assert sum(await taker.spend(limit.count + 5)) == limit.count


async def test_tokens_come_back_evenly() -> None:
    taker = Taker()
    await taker.spend(10)
    taker.clock.advance(5.9)
    assert await taker.spend(1) == [False]
    taker.clock.advance(0.1)
    assert await taker.spend(2) == [True, False]
    taker.clock.advance(3600)
    assert sum(await taker.spend(20)) == 10


async def test_what_is_told_is_what_happens() -> None:
    taker = Taker()
    assert await taker.take() == Allowance(True, limit=10, remaining=9, reset_s=6, retry_after_s=0)
    await taker.spend(9)
    refused = await taker.take()
    assert refused == Allowance(False, limit=10, remaining=0, reset_s=60, retry_after_s=6)
    taker.clock.advance(refused.retry_after_s)
    assert (await taker.take()).allowed


async def test_whoever_keeps_asking_recovers_all_the_same() -> None:
    taker = Taker()
    await taker.spend(10)
    for _ in range(12):
        taker.clock.advance(0.5)
        last = await taker.take()
    assert last.allowed


async def test_callers_and_buckets_are_apart() -> None:
    taker = Taker()
    await taker.spend(10)
    assert await taker.spend(1, "ben") == [True]
    assert (await taker.limits.take("register", "ana")).allowed


async def test_a_look_costs_nothing_and_tells_whether_one_would_pass() -> None:
    taker = Taker()
    assert (await taker.take(cost=0)).remaining == 10
    await taker.spend(10)
    look = await taker.take(cost=0)
    assert (look.allowed, look.retry_after_s) == (False, 6)


async def test_a_dear_request_takes_more_and_one_too_dear_takes_none() -> None:
    taker = Taker()
    assert (await taker.take(cost=8)).remaining == 2
    refused = await taker.take(cost=3)
    assert (refused.allowed, refused.remaining, refused.retry_after_s) == (False, 2, 6)
    assert (await taker.take(cost=2)).allowed


async def test_a_clock_set_back_shuts_nobody_out_for_longer_than_a_window() -> None:
    taker = Taker()
    await taker.spend(10)
    taker.clock.advance(-86_400)
    refused = await taker.take()
    assert (refused.allowed, refused.reset_s) == (False, 60)


async def test_memory_is_bounded_and_whoever_spent_longest_ago_is_forgotten_first() -> None:
    taker = Taker(Limit(1, 60), max_keys=3)
    for key in ("a", "b", "c", "d"):
        await taker.take(key)
    assert [(await taker.take(key, cost=0)).allowed for key in "abcd"] == [True, False, False, False]


async def test_refilled_buckets_are_forgotten_as_others_come() -> None:
    taker = Taker()
    for number in range(100):
        await taker.take(f"old-{number}")
    taker.clock.advance(60)
    for number in range(50):
        await taker.take(f"new-{number}")
    assert len(taker.limits._buckets["sign_in"]._full_at) == 50


async def test_an_unknown_bucket_is_a_slip_in_the_code() -> None:
    with pytest.raises(KeyError):
        await Taker().limits.take("nope", "ana")


async def test_no_limits_refuse_nothing() -> None:
    unlimited = Unlimited()
    assert all([(await unlimited.take("sign_in", "ana", cost=10_000)).allowed for _ in range(100)])


def test_an_empty_setting_keeps_the_designs_numbers() -> None:
    assert parse_limits("") == parse_limits(" , ") == LIMITS


def test_a_setting_replaces_what_it_names() -> None:
    assert parse_limits("sign_in=20/60, default = 1000 / 30") == {
        **LIMITS,
        "sign_in": Limit(20, 60),
        "default": Limit(1000, 30),
    }


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("sign_in", "'sign_in' is no limit; write bucket=count/seconds, as in sign_in=20/60, or off."),
        ("sign_in=20", "'sign_in=20' is no limit"),
        ("sign_in=-1/60", "is no limit"),
        ("sign_in=1.5/60", "is no limit"),
        ("sign_in=٣/60", "is no limit"),
        ("default=1/60,off", "'off' is no limit"),
        ("signin=1/60", "There is no limit called signin; there are default, failed_sign_in, invite"),
        ("sign_in=0/60", "'sign_in=0/60' allows nothing"),
        ("sign_in=1/0", "allows nothing"),
        ("sign_in=1/60,sign_in=2/60", "sign_in is limited twice."),
    ],
)
def test_a_wrong_setting_gets_a_sentence(setting: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse_limits(setting)


async def test_off_is_off_and_anything_else_is_not() -> None:
    assert isinstance(rate_limits(" OFF ", SetClock()), Unlimited)
    limits = rate_limits("sign_in=1/60", SetClock())
    assert [(await limits.take("sign_in", "ana")).allowed for _ in range(2)] == [True, False]
