"""Wrong passwords: a guesser is stopped, and the account's owner is not."""

from typing import cast

import pytest

from nomadcrew.adapters.jwt.secrets import device_token, read_device_token
from nomadcrew.adapters.machine.rate_limits import ProcessRateLimits
from nomadcrew.core.auth.failures import Origin, Target, check_within_limits
from nomadcrew.core.auth.ports import Codes
from nomadcrew.core.errors import TooMany
from nomadcrew.core.ids import UserId
from nomadcrew.core.rate_limits import LIMITS, network_of
from tests.fakes import ANA, BEN, SetClock

SECRET = b"s" * 32
GUESSER, OWNER = "203.0.113.9", "198.51.100.7"


class DeviceCodes:
    def read_device_token(self, token: str, user_id: UserId) -> str | None:
        return read_device_token([SECRET], token, user_id)


class Door:
    """The account of ana."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.limits = ProcessRateLimits(self.clock, LIMITS, max_keys=10_000)
        self.target = Target("ana@example.org", ANA)

    async def try_(self, client_ip: str, *, right: bool = False, device: str | None = None) -> bool:
        async def check() -> bool:
            return right

        origin = Origin(client_ip, device)
        codes = cast("Codes", DeviceCodes())
        return await check_within_limits(check, self.target, origin, limits=self.limits, codes=codes)


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
