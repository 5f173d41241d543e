"""Rate limits in the process: one machine, one counter."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from datetime import timedelta

from nomadcrew.core.clock import Clock
from nomadcrew.core.limits import LIMITS, Allowance, Limit, RateLimits

MAX_KEYS = 100_000  # per bucket; some 20 MB if somebody fills one on purpose
OFF = "off"
_ENTRY = re.compile(r"([a-z_]+)\s*=\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})", re.ASCII)
_MICROSECOND = timedelta(microseconds=1)
_UNLIMITED = Allowance(allowed=True, limit=1_000_000, remaining=1_000_000, reset_s=0, retry_after_s=0)


class ProcessRateLimits:
    """`RateLimits` in a dict. A restart fills every bucket again, which costs an attacker more than it gives."""

    def __init__(
        self, clock: Clock, limits: Mapping[str, Limit] | None = None, *, max_keys: int = MAX_KEYS
    ) -> None:
        """`limits` replaces the design's numbers bucket by bucket; `max_keys` bounds each bucket's callers."""
        self._clock = clock
        self._origin = clock()
        self._buckets = {name: _Bucket(limit, max_keys) for name, limit in {**LIMITS, **(limits or {})}.items()}

    async def take(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        """Spend `cost` of what `key` has left; a cost of 0 tells whether a cost of 1 would be allowed.

        A refusal spends nothing, so whoever keeps asking recovers all the same.

        Raises:
            KeyError: there is no such bucket, which is a slip in the code and no outage.
        """
        return self._buckets[bucket].take(key, cost, self._now_us())

    def spend(self, bucket: str, key: str, cost: int) -> None:
        """Count what another process has allowed, whatever is left here."""
        self._buckets[bucket].spend(key, cost, self._now_us())

    def _now_us(self) -> int:
        return (self._clock() - self._origin) // _MICROSECOND


class Unlimited:
    """`RateLimits` that never refuse, for load tests."""

    async def take(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:  # noqa: ARG002 — the port's form
        return _UNLIMITED


class _Bucket:
    """The callers of one bucket, each by the moment at which it is full again; an absent caller has a full one.

    That moment is all there is to know of a token bucket: how far it lies ahead is what has been spent. It is kept
    in microseconds times the limit's count, in which a token is a whole number, so no burst is ever one short.
    """

    def __init__(self, limit: Limit, max_keys: int) -> None:
        self._limit = limit
        self._token = limit.per_s * 1_000_000
        self._all = self._token * limit.count
        self._second = 1_000_000 * limit.count
        self._max_keys = max_keys
        self._full_at: OrderedDict[str, int] = OrderedDict()  # longest since spending first

    def spend(self, key: str, cost: int, now_us: int) -> None:
        now = now_us * self._limit.count
        self._keep(key, now + min(self._all, self._spent(key, now) + cost * self._token), now)

    def _spent(self, key: str, now: int) -> int:
        # The upper bound matters only after the clock was set back: nobody waits longer than a whole window.
        return min(max(0, self._full_at.get(key, now) - now), self._all)

    def take(self, key: str, cost: int, now_us: int) -> Allowance:
        limit, now = self._limit, now_us * self._limit.count
        spent = self._spent(key, now)
        asked = cost or 1
        short = spent + asked * self._token - self._all
        if short > 0:
            left = (self._all - spent) // self._token
            return Allowance(False, limit.count, left, self._seconds(spent), self._seconds(short))
        if cost:
            spent += cost * self._token
            self._keep(key, now + spent, now)
        return Allowance(True, limit.count, (self._all - spent) // self._token, self._seconds(spent), 0)

    def _seconds(self, span: int) -> int:
        return -(-span // self._second)

    def _keep(self, key: str, full_at: int, now: int) -> None:
        held = self._full_at
        if key in held:
            held[key] = full_at
            held.move_to_end(key)
            return
        self._make_room(now)
        held[key] = full_at

    def _make_room(self, now: int) -> None:
        """Forget up to two callers whose bucket is full again, or whoever spent longest ago if there is no room.

        Two go for each that comes, so memory follows the callers of the last window without a sweep.
        """
        held = self._full_at
        for _ in range(2):
            if held and (len(held) >= self._max_keys or next(iter(held.values())) <= now):
                held.popitem(last=False)


def rate_limits(setting: str, clock: Clock) -> RateLimits:
    """The limits a setting asks for.

    Raises:
        ValueError: as `parse_limits` says.
    """
    limits = parse_limits(setting)
    return ProcessRateLimits(clock, limits) if limits else Unlimited()


def parse_limits(text: str) -> dict[str, Limit]:
    """Every bucket's limit under a setting such as `sign_in=20/60,default=1000/60`; none at all for `off`.

    Buckets that are not named keep the design's number, so an empty setting changes nothing.

    Raises:
        ValueError: a sentence that says which part is wrong and what would be right.
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
        raise ValueError(f"{part!r} is no limit; write bucket=count/seconds, as in sign_in=20/60, or off.")
    name, count, per_s = match[1], int(match[2]), int(match[3])
    if name not in LIMITS:
        raise ValueError(f"There is no limit called {name}; there are {', '.join(sorted(LIMITS))}.")
    if not count or not per_s:
        raise ValueError(f"{part!r} allows nothing; count and seconds are at least 1, or write off for no limits.")
    return name, Limit(count, per_s)
