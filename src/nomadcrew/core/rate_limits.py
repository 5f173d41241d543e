"""Rate limits: named token buckets, whose burst equals their count.

Buckets are per user, or per IP address for requests without a token. Every number is a setting.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` requests per `per_s` seconds, refilled continuously."""

    count: int
    per_s: int


LIMITS: dict[str, Limit] = {
    "default": Limit(600, 60),
    "sign_in": Limit(10, 60),
    "failed_sign_in": Limit(5, 900),  # per account; only failures spend it
    "bad_token": Limit(120, 60),  # per address; only refused tokens spend it
    "register": Limit(10, 3600),
    "trip_create": Limit(30, 60),
    "invite": Limit(30, 60),
    "contact_email": Limit(5, 3600),
    "chat": Limit(10, 1),
    "chat_trip": Limit(20, 1),  # per trip
    "upload": Limit(20, 60),
    "positions": Limit(2, 1),
    "position_batches": Limit(10, 60),
}


@dataclass(frozen=True, slots=True)
class Allowance:
    """The state of a bucket after a request. The bucket is full again after `reset_s` seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int
    retry_after_s: int


class RateLimits(Protocol):
    async def spend(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        """Spend `cost` from a bucket; a cost of 0 only reads it. Never raises: an outage allows the request."""
        ...
