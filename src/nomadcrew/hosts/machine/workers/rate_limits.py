"""Rate limits shared by several processes.

Asking the host costs as much as a short request (measured), so workers ask only for limits that protect accounts
and mail: these allow a few requests per minute, and must be exact. Each worker counts all other limits itself and
gets the other workers' spending within a moment; a caller that several workers serve in that moment gets slightly
more.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from nomadcrew.adapters.machine.rate_limits import ProcessRateLimits
from nomadcrew.core.rate_limits import Allowance, Limit, RateLimits

TOLD_EVERY_S = 0.05
SLOW_WINDOW_S = 60
FEW = 30  # in `SLOW_WINDOW_S`

Spent = tuple[str, str, int]


def guards(limit: Limit) -> bool:
    """True if a limit is so low that it must be counted in one process."""
    return limit.per_s >= SLOW_WINDOW_S and limit.count * SLOW_WINDOW_S <= FEW * limit.per_s


class WorkerRateLimits:
    """`RateLimits` of a worker; `host` counts the low limits."""

    def __init__(
        self,
        limits: Mapping[str, Limit],
        own: ProcessRateLimits,
        host: RateLimits,
        report: Callable[[Sequence[Spent]], None],
    ) -> None:
        """`report` gets the tokens spent here, to send them to the other workers."""
        self._low = frozenset(name for name, limit in limits.items() if guards(limit))
        self._own = own
        self._host = host
        self._report = report
        self._spent: dict[tuple[str, str], int] = {}

    async def spend(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        if bucket in self._low:
            return await self._host.spend(bucket, key, cost=cost)
        allowance = await self._own.spend(bucket, key, cost=cost)
        if allowance.allowed and cost:
            if not self._spent:
                asyncio.get_running_loop().call_later(TOLD_EVERY_S, self._send_spent)
            self._spent[bucket, key] = self._spent.get((bucket, key), 0) + cost
        return allowance

    def count_spent(self, spent: Sequence[Spent]) -> None:
        """Count tokens spent in other workers."""
        for bucket, key, cost in spent:
            self._own.count_spent(bucket, key, cost)

    def _send_spent(self) -> None:
        spent, self._spent = self._spent, {}
        self._report([(bucket, key, cost) for (bucket, key), cost in spent.items()])
