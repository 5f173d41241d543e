"""Kept replies on PostgreSQL, in the transaction of the write they answer."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from nomadcrew.adapters.postgres.sql import Sql, statements
from nomadcrew.core.errors import Unavailable, Unprocessable
from nomadcrew.core.idempotency import KEPT_FOR, KeptReply

_SQL = statements("replays")


class PostgresReplies:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def once(
        self, key: bytes, request_hash: bytes, make: Callable[[], Awaitable[KeptReply]], *, now: datetime
    ) -> KeptReply:
        async with self._sql.transaction():
            claimed = await self._sql.fetch(
                _SQL["claim"], key=key, request_hash=request_hash, now=now, expires_at=now + KEPT_FOR
            )
            if claimed:
                reply = await make()
                await self._sql.fetch(_SQL["keep"], key=key, status=reply.status, body=reply.body)
                return reply
        rows = await self._sql.fetch(_SQL["kept"], key=key)
        if not rows:
            # It expired and was purged in this very moment: the same request may be sent again.
            raise Unavailable(code="busy")
        row = rows[0]
        if row["request_hash"] != request_hash:
            raise Unprocessable(
                "That Idempotency-Key was used for a different request. Use a fresh one for each write.",
                code="idempotency_key_reused",
            )
        return KeptReply(row["status"], row["body"])
