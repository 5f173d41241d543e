"""Settings of rate limits, and their memory."""

import re

import pytest

from nomadcrew.adapters.machine.rate_limits import ProcessRateLimits, Unlimited, parse_limits, rate_limits
from nomadcrew.core.rate_limits import LIMITS, Allowance, Limit
from tests.fakes import SetClock

TEN_PER_MINUTE = Limit(10, 60)


class Caller:
    """A caller of the bucket `sign_in`, which allows ten per minute."""

    def __init__(self, limit: Limit = TEN_PER_MINUTE, *, max_keys: int = 1000) -> None:
        self.clock = SetClock()
        self.limits = ProcessRateLimits(self.clock, {"sign_in": limit}, max_keys=max_keys)

    async def take(self, key: str = "ana", *, cost: int = 1) -> Allowance:
        return await self.limits.spend("sign_in", key, cost=cost)

    async def spend(self, count: int, key: str = "ana") -> list[bool]:
        return [(await self.take(key)).allowed for _ in range(count)]


async def test_memory_is_bounded_and_the_least_recent_key_is_dropped() -> None:
    caller = Caller(Limit(1, 60), max_keys=3)
    for key in ("a", "b", "c", "d"):
        await caller.take(key)
    assert [(await caller.take(key, cost=0)).allowed for key in "abcd"] == [True, False, False, False]


async def test_refilled_buckets_are_dropped() -> None:
    caller = Caller()
    for number in range(100):
        await caller.take(f"old-{number}")
    caller.clock.advance(60)
    for number in range(50):
        await caller.take(f"new-{number}")
    assert len(caller.limits._buckets["sign_in"]._full_at) == 50


async def test_without_limits_nothing_is_refused() -> None:
    unlimited = Unlimited()
    assert all([(await unlimited.spend("sign_in", "ana", cost=10_000)).allowed for _ in range(100)])


def test_an_empty_setting_leaves_the_defaults() -> None:
    assert parse_limits("") == parse_limits(" , ") == LIMITS


def test_a_setting_replaces_the_named_limits() -> None:
    assert parse_limits("sign_in=20/60, default = 1000 / 30") == {
        **LIMITS,
        "sign_in": Limit(20, 60),
        "default": Limit(1000, 30),
    }


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("sign_in", "'sign_in' is not a limit; use bucket=count/seconds, such as sign_in=20/60, or off."),
        ("sign_in=20", "'sign_in=20' is not a limit"),
        ("sign_in=-1/60", "is not a limit"),
        ("sign_in=1.5/60", "is not a limit"),
        ("sign_in=٣/60", "is not a limit"),
        ("default=1/60,off", "'off' is not a limit"),
        ("signin=1/60", "Unknown limit signin; the limits are api_key_create, bad_token, calendar_create, chat"),
        ("sign_in=0/60", "'sign_in=0/60' allows nothing"),
        ("sign_in=1/0", "allows nothing"),
        ("sign_in=1/60,sign_in=2/60", "sign_in is limited twice."),
    ],
)
def test_an_invalid_setting_is_refused_with_a_sentence(setting: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse_limits(setting)


async def test_only_off_switches_limits_off() -> None:
    assert isinstance(rate_limits(" OFF ", SetClock()), Unlimited)
    limits = rate_limits("sign_in=1/60", SetClock())
    assert [(await limits.spend("sign_in", "ana")).allowed for _ in range(2)] == [True, False]
