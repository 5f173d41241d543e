"""Deletes expired rows on schedule, in batches, so that locks are short."""

from datetime import UTC, datetime, timedelta

from nomadcrew.adapters.postgres.outbox import KEPT_FOR
from nomadcrew.adapters.postgres.sql import Sql, Statement, statements
from nomadcrew.core.locations.model import HISTORY_KEPT_FOR

DELETE_BATCH = 5_000
NOTIFICATIONS_KEPT_FOR = timedelta(days=30)
DEAD_JOBS_KEPT_FOR = timedelta(days=30)
PUSH_TOKENS_KEPT_FOR = timedelta(days=30)  # once inactive
PUSH_SENDS_KEPT_FOR = timedelta(days=2)  # Expo stores receipts for one
# Partitions to create in advance: if the schedule stops for longer, points are stored more slowly, but not lost.
DAYS_AHEAD = 7


class PostgresRetention:
    """Each method deletes all expired rows and returns their number."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def delete_events(self, now: datetime) -> int:
        return await self._purge(statements("outbox")["purge"], before=now - KEPT_FOR)

    async def delete_notifications(self, now: datetime) -> int:
        return await self._purge(statements("notifications")["purge"], before=now - NOTIFICATIONS_KEPT_FOR)

    async def delete_stored_replies(self, now: datetime) -> int:
        return await self._purge(statements("idempotency")["purge"], now=now)

    async def delete_dead_jobs(self, now: datetime) -> int:
        return await self._purge(statements("queue")["purge_dead"], before=now - DEAD_JOBS_KEPT_FOR)

    async def delete_push_tokens(self, now: datetime) -> int:
        return await self._purge(statements("push")["purge_tokens"], before=now - PUSH_TOKENS_KEPT_FOR)

    async def delete_push_sends(self, now: datetime) -> int:
        return await self._purge(statements("push")["purge_sends"], before=now - PUSH_SENDS_KEPT_FOR)

    async def end_expired_sharing(self, now: datetime) -> int:
        return await self._purge(statements("locations")["expire"], now=now)

    async def delete_positions(self, now: datetime) -> int:
        [row] = await self._sql.fetch(
            statements("locations")["keep_days"],
            today=now.astimezone(UTC).date(),
            ahead=DAYS_AHEAD,
            kept=HISTORY_KEPT_FOR.days,
        )
        views = await self._purge(statements("locations")["purge_views"], before=now - HISTORY_KEPT_FOR)
        return int(row["changed"]) + views

    async def _purge(self, statement: Statement, **params: object) -> int:
        total = 0
        while True:
            deleted = len(await self._sql.fetch(statement, limit=DELETE_BATCH, **params))
            total += deleted
            if deleted < DELETE_BATCH:
                return total
