"""Rate limits that several processes share.

Asking the host costs as much as a short request (measured), so only what guards accounts and mail does: few may ask
in minutes there, and each one counts. Everything else a worker counts itself and hears of the others' spending
within a moment; a caller who is served by several workers in that very moment gets a little more, once.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from nomadcrew.adapters.machine.limits import ProcessRateLimits
from nomadcrew.core.limits import Allowance, Limit, RateLimits

TOLD_EVERY_S = 0.05
SLOW_WINDOW_S = 60
FEW = 30

Spent = tuple[str, str, int]


def guards(limit: Limit) -> bool:
    """Whether a limit is so narrow that it must be counted in one place."""
    return limit.per_s >= SLOW_WINDOW_S and limit.count <= FEW


class SharedRateLimits:
    """`RateLimits` of a worker; `host` counts the narrow ones."""

    def __init__(
        self,
        limits: Mapping[str, Limit],
        own: ProcessRateLimits,
        host: RateLimits,
        tell: Callable[[Sequence[Spent]], None],
    ) -> None:
        """`tell` is given what was spent here, for the other workers."""
        self._narrow = frozenset(name for name, limit in limits.items() if guards(limit))
        self._own = own
        self._host = host
        self._tell = tell
        self._spent: dict[tuple[str, str], int] = {}

    async def take(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        if bucket in self._narrow:
            return await self._host.take(bucket, key, cost=cost)
        allowance = await self._own.take(bucket, key, cost=cost)
        if allowance.allowed and cost:
            if not self._spent:
                asyncio.get_running_loop().call_later(TOLD_EVERY_S, self._tell_spent)
            self._spent[bucket, key] = self._spent.get((bucket, key), 0) + cost
        return allowance

    def spend(self, spent: Sequence[Spent]) -> None:
        """Count what other workers have allowed."""
        for bucket, key, cost in spent:
            self._own.spend(bucket, key, cost)

    def _tell_spent(self) -> None:
        spent, self._spent = self._spent, {}
        self._tell([(bucket, key, cost) for (bucket, key), cost in spent.items()])
