"""Rate limits: token buckets, named, with a burst as large as the number.

Per user where the caller is known, else per client address. The numbers are the design's; every one is a setting.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` requests per `per_s` seconds, refilled evenly."""

    count: int
    per_s: int


LIMITS: dict[str, Limit] = {
    "default": Limit(600, 60),
    "sign_in": Limit(10, 60),
    "failed_sign_in": Limit(5, 900),  # per account, spent by failures only
    "register": Limit(10, 3600),
    "trip_create": Limit(30, 60),
    "invite": Limit(30, 60),
    "chat": Limit(10, 1),
    "chat_trip": Limit(20, 1),  # per trip
    "upload": Limit(20, 60),
    "positions": Limit(2, 1),
    "position_batches": Limit(10, 60),
}


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a bucket after asking; `reset_s` until it is full again."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int
    retry_after_s: int


class RateLimits(Protocol):
    async def take(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        """Spend `cost` from the caller's bucket; a cost of 0 only looks. Never raises: an outage allows."""
        ...
