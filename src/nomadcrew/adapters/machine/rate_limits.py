"""Rate limits in memory, for one process."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from datetime import timedelta

from nomadcrew.core.clock import Clock
from nomadcrew.core.rate_limits import LIMITS, Allowance, Limit, RateLimits

MAX_KEYS = 100_000  # per bucket; about 20 MB if an attacker fills one
OFF = "off"
_ENTRY = re.compile(r"([a-z_]+)\s*=\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})", re.ASCII)
_MICROSECOND = timedelta(microseconds=1)
_UNLIMITED = Allowance(allowed=True, limit=1_000_000, remaining=1_000_000, reset_s=0, retry_after_s=0)


class ProcessRateLimits:
    """`RateLimits` in a dict. A restart refills all buckets; causing one costs an attacker more than it gains."""

    def __init__(
        self, clock: Clock, limits: Mapping[str, Limit] | None = None, *, max_keys: int = MAX_KEYS
    ) -> None:
        """`limits` overrides the defaults by bucket; `max_keys` is the maximum of callers per bucket."""
        self._clock = clock
        self._origin = clock()
        self._buckets = {name: _Bucket(limit, max_keys) for name, limit in {**LIMITS, **(limits or {})}.items()}

    async def spend(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        """Spend `cost` tokens of `key`; a cost of 0 tests whether a cost of 1 would be allowed.

        A refusal spends nothing, so callers that keep asking recover too.

        Raises:
            KeyError: the bucket does not exist, which is a bug and not an outage.
        """
        return self._buckets[bucket].take(key, cost, self._now_us())

    def count_spent(self, bucket: str, key: str, cost: int) -> None:
        """Count tokens that another process has allowed, even if too few are left here."""
        self._buckets[bucket].spend(key, cost, self._now_us())

    def _now_us(self) -> int:
        return (self._clock() - self._origin) // _MICROSECOND


class Unlimited:
    """`RateLimits` that never refuse, for load tests."""

    async def spend(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:  # noqa: ARG002 — required by the port
        return _UNLIMITED


class _Bucket:
    """The callers of one bucket, each with the time at which its tokens are full again; absent callers are full.

    The time is the whole state of a token bucket: its distance from now is the spent amount. It is in microseconds
    times the limit's count, so that a token is a whole number and no rounding loses one.
    """

    def __init__(self, limit: Limit, max_keys: int) -> None:
        self._limit = limit
        self._token = limit.per_s * 1_000_000
        self._capacity = self._token * limit.count
        self._second = 1_000_000 * limit.count
        self._max_keys = max_keys
        self._full_at: OrderedDict[str, int] = OrderedDict()  # ordered by last spending, oldest first

    def spend(self, key: str, cost: int, now_us: int) -> None:
        now = now_us * self._limit.count
        self._set(key, now + min(self._capacity, self._after(key, cost, now)), now)

    def _spent(self, key: str, now: int) -> int:
        # The upper bound matters only if the clock was set back: no caller waits longer than a whole window.
        return min(max(0, self._full_at.get(key, now) - now), self._capacity)

    def _after(self, key: str, cost: int, now: int) -> int:
        """The spent amount after spending `cost`, or after giving it back."""
        return max(0, self._spent(key, now) + cost * self._token)

    def take(self, key: str, cost: int, now_us: int) -> Allowance:
        limit, now = self._limit, now_us * self._limit.count
        spent = self._spent(key, now)
        wanted = cost or 1
        short = spent + wanted * self._token - self._capacity
        if short > 0:
            left = (self._capacity - spent) // self._token
            return Allowance(False, limit.count, left, self._seconds(spent), self._seconds(short))
        if cost:
            spent = self._after(key, cost, now)
            self._set(key, now + spent, now)
        return Allowance(True, limit.count, (self._capacity - spent) // self._token, self._seconds(spent), 0)

    def _seconds(self, span: int) -> int:
        return -(-span // self._second)

    def _set(self, key: str, full_at: int, now: int) -> None:
        callers = self._full_at
        if key in callers:
            callers[key] = full_at
            callers.move_to_end(key)
            return
        self._make_room(now)
        callers[key] = full_at

    def _make_room(self, now: int) -> None:
        """Remove up to two callers that are full again; if there is no room, those that spent longest ago.

        Two are removed for each new caller, so memory follows the callers of the last window without a sweep.
        """
        callers = self._full_at
        for _ in range(2):
            if callers and (len(callers) >= self._max_keys or next(iter(callers.values())) <= now):
                callers.popitem(last=False)


def rate_limits(setting: str, clock: Clock) -> RateLimits:
    """The limits of a setting.

    Raises:
        ValueError: see `parse_limits`.
    """
    limits = parse_limits(setting)
    return ProcessRateLimits(clock, limits) if limits else Unlimited()


def parse_limits(text: str) -> dict[str, Limit]:
    """All limits, with the overrides of a setting such as `sign_in=20/60,default=1000/60`; empty for `off`.

    Buckets that are not named keep their default.

    Raises:
        ValueError: the message says which part is wrong and what is valid.
    """
    if text.strip().lower() == OFF:
        return {}
    limits = dict(LIMITS)
    named: set[str] = set()
    for part in filter(None, map(str.strip, text.split(","))):
        name, limit = _entry(part)
        if name in named:
            raise ValueError(f"{name} is limited twice.")
        named.add(name)
        limits[name] = limit
    return limits


def _entry(part: str) -> tuple[str, Limit]:
    match = _ENTRY.fullmatch(part)
    if match is None:
        raise ValueError(f"{part!r} is not a limit; use bucket=count/seconds, such as sign_in=20/60, or off.")
    name, count, per_s = match[1], int(match[2]), int(match[3])
    if name not in LIMITS:
        raise ValueError(f"Unknown limit {name}; the limits are {', '.join(sorted(LIMITS))}.")
    if not count or not per_s:
        raise ValueError(
            f"{part!r} allows nothing; count and seconds must be at least 1, or use off for no limits."
        )
    return name, Limit(count, per_s)
