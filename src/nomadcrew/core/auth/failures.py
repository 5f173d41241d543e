"""Limits of wrong passwords: an account can neither be guessed nor be locked by another user.

Failures count for the pair of account and network, so that a stranger locks only their own network. All networks
together have a limit per account too, against many guessing networks; a device that signed in before proves it by
its device token and has a limit of its own.

Source: OWASP, Slow Down Online Guessing Attacks with Device Cookies.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from nomadcrew.core.auth.ports import Codes
from nomadcrew.core.errors import TooMany
from nomadcrew.core.ids import UserId
from nomadcrew.core.rate_limits import RateLimits, network_of

FAILURES = "failed_sign_in"
ALL_FAILURES = "failed_sign_in_total"

# Attempts under one key run one after another, so that concurrent attempts cannot exceed the limit of failures.
_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class Origin:
    """The client of an attempt: its IP address, and the token of a device that signed in before."""

    client_ip: str
    device_token: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The account that an attempt is for. `user_id` is None if there is none, or if it is not known yet."""

    key: str
    user_id: UserId | None = None


async def check_within_limits(
    check: Callable[[], Awaitable[bool]], target: Target, origin: Origin, *, limits: RateLimits, codes: Codes
) -> bool:
    """Run `check`, which tells if the password is right, and count a failure.

    Raises:
        TooMany: too many failures before; `check` was not run.
    """
    buckets = _buckets(target, origin, codes)
    async with _lock_for(buckets[0][1]):
        for bucket, key in buckets:
            allowance = await limits.spend(bucket, key, cost=0)
            if not allowance.allowed:
                raise TooMany(
                    allowance.retry_after_s,
                    "Too many failed sign-ins for this account. Try again later.",
                    code="too_many_failures",
                )
        is_right = await check()
        if not is_right:
            for bucket, key in buckets:
                await limits.spend(bucket, key)
        return is_right


def _buckets(target: Target, origin: Origin, codes: Codes) -> tuple[tuple[str, str], ...]:
    """The buckets of an attempt, with their keys."""
    device = None
    if target.user_id is not None and origin.device_token is not None:
        device = codes.read_device_token(origin.device_token, target.user_id)
    if device is not None:
        return ((FAILURES, f"{target.key} device {device}"),)
    return ((FAILURES, f"{target.key} {network_of(origin.client_ip)}"), (ALL_FAILURES, target.key))


def _lock_for(key: str) -> asyncio.Lock:
    lock = _locks.get(key)
    if lock is None:
        lock = _locks[key] = asyncio.Lock()
    return lock
