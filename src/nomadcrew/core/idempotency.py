"""Stored replies of requests with an Idempotency-Key."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from msgspec import Struct


class StoredReply(Struct, frozen=True):
    status: int
    body: bytes


class IdempotencyStore(Protocol):
    async def run_once(
        self, key: bytes, request_hash: bytes, make: Callable[[], Awaitable[StoredReply]], *, now: datetime
    ) -> StoredReply:
        """The reply stored under `key`, else the reply of `make`, stored in the transaction of its write.

        A second request with the same key waits for the first. If `make` raises, no reply is stored.

        Raises:
            Unprocessable: the key was used for a different request.
        """
        ...
