"""Replies kept for repeated requests that carry an Idempotency-Key."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

KEPT_FOR = timedelta(hours=24)
FINGERPRINT_KEPT_FOR = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class KeptReply:
    status: int
    body: bytes


class Replies(Protocol):
    async def once(
        self, key: bytes, request_hash: bytes, make: Callable[[], Awaitable[KeptReply]], *, now: datetime
    ) -> KeptReply:
        """The reply kept under `key`, else what `make` returns, kept in the transaction of what it wrote.

        A second request with the same key waits for the first. What `make` raises is raised and nothing is kept.

        Raises:
            Unprocessable: the key was used for a different request.
        """
        ...
