"""Limits of wrong passwords: an account can neither be guessed nor be locked by another user.

Failures count for the pair of account and network, so that a stranger locks only their own network. All networks
together have a limit per account too, against many guessing networks; a device that signed in before proves it by
its device token and has a limit of its own.

Source: OWASP, Slow Down Online Guessing Attacks with Device Cookies.
"""

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from nomadcrew.core.auth.ports import Codes
from nomadcrew.core.errors import TooMany
from nomadcrew.core.ids import UserId
from nomadcrew.core.rate_limits import RateLimits, network_of

FAILURES = "failed_sign_in"
ALL_FAILURES = "failed_sign_in_total"

Buckets = Sequence[tuple[str, str]]  # names, each with a key


class Origin(Struct, frozen=True):
    """The client of an attempt: its IP address, the token of a device that signed in before, and its User-Agent."""

    client_ip: str
    device_token: str | None = None
    user_agent: str = ""


class Target(Struct, frozen=True):
    """The account that an attempt is for. `user_id` is None if there is none, or if it is not known yet."""

    key: str
    user_id: UserId | None = None


async def check_within_limits(
    check: Callable[[], Awaitable[bool]], target: Target, origin: Origin, *, limits: RateLimits, codes: Codes
) -> bool:
    """Run `check`, which tells if the password is right, and count a failure.

    An attempt spends before it is made and gets back what it spent unless the password is wrong: concurrent
    attempts, wherever they run, cannot exceed the limit of failures.

    Raises:
        TooMany: too many failures before, or too many attempts at this moment; `check` was not run.
    """
    spent = await _spend(_buckets(target, origin, codes), limits)
    is_wrong = False
    try:
        is_wrong = not await check()
    finally:
        if not is_wrong:
            await _give_back(spent, limits)
    return not is_wrong


async def _spend(buckets: Buckets, limits: RateLimits) -> Buckets:
    """Spend from each bucket, or from none and raise `TooMany`; returns the buckets."""
    for number, (bucket, key) in enumerate(buckets):
        allowance = await limits.spend(bucket, key)
        if not allowance.allowed:
            await _give_back(buckets[:number], limits)
            raise TooMany(
                allowance.retry_after_s,
                "Too many failed sign-ins for this account. Try again later.",
                code="too_many_failures",
            )
    return buckets


async def _give_back(buckets: Buckets, limits: RateLimits) -> None:
    for bucket, key in buckets:
        await limits.spend(bucket, key, cost=-1)


def _buckets(target: Target, origin: Origin, codes: Codes) -> Buckets:
    """The buckets of an attempt."""
    device = None
    if target.user_id is not None and origin.device_token is not None:
        device = codes.read_device_token(origin.device_token, target.user_id)
    if device is not None:
        return ((FAILURES, f"{target.key} device {device}"),)
    return ((FAILURES, f"{target.key} {network_of(origin.client_ip)}"), (ALL_FAILURES, target.key))
