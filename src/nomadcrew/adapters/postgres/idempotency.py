"""Stored replies for Idempotency-Key, in the transaction of the write."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from nomadcrew.adapters.postgres.sql import Sql, statements
from nomadcrew.core.errors import Unavailable, Unprocessable
from nomadcrew.core.idempotency import StoredReply
from nomadcrew.core.retention import STORED_REPLY_RETENTION

_SQL = statements("idempotency")


class PostgresIdempotencyStore:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def run_once(
        self, key: bytes, request_hash: bytes, make: Callable[[], Awaitable[StoredReply]], *, now: datetime
    ) -> StoredReply:
        async with self._sql.transaction():
            claimed = await self._sql.fetch(
                _SQL["claim"], key=key, request_hash=request_hash, now=now, expires_at=now + STORED_REPLY_RETENTION
            )
            if claimed:
                reply = await make()
                await self._sql.fetch(_SQL["keep"], key=key, status=reply.status, body=reply.body)
                return reply
        rows = await self._sql.fetch(_SQL["kept"], key=key)
        if not rows:
            # It expired and was deleted at this moment: the client may retry.
            raise Unavailable(code="busy")
        row = rows[0]
        if row["request_hash"] != request_hash:
            raise Unprocessable(
                "This Idempotency-Key was used for a different request. Use a new key for each write.",
                code="idempotency_key_reused",
            )
        return StoredReply(row["status"], row["body"])
