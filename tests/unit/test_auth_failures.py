"""Wrong passwords: a guesser is stopped, and the account's owner is not."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import cast

import pytest

from nomadcrew.adapters.jwt.secrets import device_token, read_device_token
from nomadcrew.adapters.machine.rate_limits import ProcessRateLimits
from nomadcrew.core.auth.failures import ALL_FAILURES, FAILURES, Origin, Target, check_within_limits
from nomadcrew.core.auth.ports import Codes
from nomadcrew.core.errors import TooMany, Unavailable
from nomadcrew.core.ids import UserId
from nomadcrew.core.rate_limits import LIMITS, network_of
from tests.fakes import ANA, BEN, SetClock

SECRET = b"s" * 32
GUESSER, OWNER = "203.0.113.9", "198.51.100.7"


class DeviceCodes:
    def read_device_token(self, token: str, user_id: UserId) -> str | None:
        return read_device_token([SECRET], token, user_id)


Check = Callable[[], Coroutine[None, None, bool]]


class Door:
    """The account of ana."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.limits = ProcessRateLimits(self.clock, LIMITS, max_keys=10_000)
        self.target = Target("ana@example.org", ANA)

    async def try_(self, client_ip: str, *, right: bool = False, device: str | None = None) -> bool:
        async def check() -> bool:
            return right

        return await self.check(check, client_ip, device)

    async def check(self, check: Check, client_ip: str, device: str | None = None) -> bool:
        origin = Origin(client_ip, device)
        codes = cast("Codes", DeviceCodes())
        return await check_within_limits(check, self.target, origin, limits=self.limits, codes=codes)

    async def spent(self) -> tuple[int, int]:
        """The failures counted for the owner's network, and for all networks."""
        own = await self.limits.spend(FAILURES, f"{self.target.key} {OWNER}", cost=0)
        all_ = await self.limits.spend(ALL_FAILURES, self.target.key, cost=0)
        return own.limit - own.remaining, all_.limit - all_.remaining


async def test_a_strangers_failures_lock_the_strangers_network_only() -> None:
    door = Door()
    for _ in range(5):
        assert not await door.try_(GUESSER)
    with pytest.raises(TooMany):
        await door.try_(GUESSER, right=True)
    assert await door.try_(OWNER, right=True)


async def test_one_client_has_one_network_whatever_ipv6_address_it_takes() -> None:
    door = Door()
    for n in range(5):
        await door.try_(f"2001:db8:1:2::{n}")
    with pytest.raises(TooMany):
        await door.try_("2001:db8:1:2:ffff:ffff:ffff:ffff", right=True)
    assert await door.try_("2001:db8:1:3::1", right=True)


async def test_many_networks_cannot_guess_on_and_a_known_device_stays_able() -> None:
    door = Door()
    for n in range(100):
        await door.try_(f"203.0.113.{n}")
    with pytest.raises(TooMany):
        await door.try_(OWNER, right=True)
    known = device_token(SECRET, ANA, lambda size: b"d" * size)
    assert await door.try_(OWNER, right=True, device=known)


async def test_a_device_has_a_limit_of_its_own_and_is_known_to_its_user_only() -> None:
    door = Door()
    known = device_token(SECRET, ANA, lambda size: b"d" * size)
    for _ in range(5):
        await door.try_(OWNER, device=known)
    with pytest.raises(TooMany):
        await door.try_(OWNER, right=True, device=known)
    for n in range(100):
        await door.try_(f"203.0.113.{n}")
    of_ben = device_token(SECRET, BEN, lambda size: b"d" * size)
    forged = device_token(b"x" * 32, ANA, lambda size: b"d" * size)
    for device in (of_ben, forged, "no token", "ü"):
        with pytest.raises(TooMany):
            await door.try_(OWNER, right=True, device=device)


async def test_right_passwords_and_outages_leave_nothing_spent() -> None:
    door = Door()
    for _ in range(4):
        await door.try_(OWNER)
    before = await door.spent()

    async def fail() -> bool:
        raise Unavailable

    for _ in range(7):
        assert await door.try_(OWNER, right=True)
        with pytest.raises(Unavailable):
            await door.check(fail, OWNER)
    assert await door.spent() == before == (4, 4)


async def test_an_attempt_whose_client_left_leaves_nothing_spent() -> None:
    door = Door()
    attempt = asyncio.create_task(door.check(asyncio.Event().wait, OWNER))
    await asyncio.sleep(0)
    assert await door.spent() == (1, 1)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert await door.spent() == (0, 0)


async def test_attempts_refused_for_all_networks_leave_the_network_unspent() -> None:
    door = Door()
    for n in range(100):
        await door.try_(f"203.0.113.{n}")
    for _ in range(7):
        with pytest.raises(TooMany):
            await door.try_(OWNER, right=True)
    assert await door.spent() == (0, 100)


async def test_concurrent_attempts_are_made_as_often_as_failures_are_allowed() -> None:
    door, tried = Door(), 0

    async def guess() -> bool:
        nonlocal tried
        tried += 1
        await asyncio.sleep(0)
        return False

    answers = await asyncio.gather(*(door.check(guess, GUESSER) for _ in range(30)), return_exceptions=True)
    assert tried == answers.count(False) == 5


@pytest.mark.parametrize(
    ("client_ip", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("not:an:address", "not:an:address"),
        ("", ""),
    ],
)
def test_the_network_of_a_client(client_ip: str, network: str) -> None:
    assert network_of(client_ip) == network
