"""Deletes expired rows on schedule, in batches, so that locks are short."""

from datetime import UTC, datetime, timedelta

from nomadcrew.adapters.postgres.sql import Sql, Statement, statements
from nomadcrew.core.batches import in_batches
from nomadcrew.core.retention import (
    API_KEY_RETENTION,
    DEAD_JOB_RETENTION,
    DOCUMENT_AUDIT_RETENTION,
    EMAIL_CHANGE_RETENTION,
    EVENT_RETENTION,
    FEEDBACK_RETENTION,
    IMPORT_RETENTION,
    KNOWN_DEVICE_RETENTION,
    MAIL_COUNT_RETENTION,
    NOTIFICATION_RETENTION,
    POSITION_RETENTION,
    PUSH_RECORD_RETENTION,
    PUSH_TOKEN_RETENTION,
    TOMBSTONE_RETENTION,
    WEATHER_RETENTION,
    WEBHOOK_DELIVERY_RETENTION,
)

DELETE_BATCH = 5_000
# Partitions to create in advance: if the schedule stops for longer, points are stored more slowly, but not lost.
DAYS_AHEAD = 7


class PostgresRetention:
    """Each method deletes all expired rows and returns their number."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def delete_events(self, now: datetime) -> int:
        return await self._purge(statements("outbox")["purge"], before=now - EVENT_RETENTION)

    async def delete_tombstones(self, now: datetime) -> int:
        # A day longer than cursors are valid: the database's clock stamps tombstones.
        return await self._purge(statements("sync")["purge"], before=now - TOMBSTONE_RETENTION - timedelta(days=1))

    async def delete_notifications(self, now: datetime) -> int:
        return await self._purge(statements("notifications")["purge"], before=now - NOTIFICATION_RETENTION)

    async def delete_stored_replies(self, now: datetime) -> int:
        return await self._purge(statements("idempotency")["purge"], now=now)

    async def delete_imports(self, now: datetime) -> int:
        return await self._purge(statements("archives")["forget"], before=now - IMPORT_RETENTION)

    async def delete_document_audit(self, now: datetime) -> int:
        return await self._purge(statements("documents")["purge_audit"], before=now - DOCUMENT_AUDIT_RETENTION)

    async def delete_dead_jobs(self, now: datetime) -> int:
        return await self._purge(statements("queue")["purge_dead"], before=now - DEAD_JOB_RETENTION)

    async def delete_push_tokens(self, now: datetime) -> int:
        before = now - PUSH_TOKEN_RETENTION
        waiting = await self._purge(statements("push")["purge_waiting"], before=before)
        return waiting + await self._purge(statements("push")["purge_tokens"], before=before)

    async def delete_nonces(self, now: datetime) -> int:
        return await self._purge(statements("identities")["purge_nonces"], now=now)

    async def delete_email_changes(self, now: datetime) -> int:
        return await self._purge(statements("accounts")["purge_email_changes"], before=now - EMAIL_CHANGE_RETENTION)

    async def delete_known_devices(self, now: datetime) -> int:
        return await self._purge(statements("accounts")["purge_known_devices"], before=now - KNOWN_DEVICE_RETENTION)

    async def delete_api_keys(self, now: datetime) -> int:
        return await self._purge(statements("api_keys")["purge"], before=now - API_KEY_RETENTION)

    async def delete_webhook_deliveries(self, now: datetime) -> int:
        return await self._purge(statements("webhooks")["purge"], before=now - WEBHOOK_DELIVERY_RETENTION)

    async def delete_feedback(self, now: datetime) -> int:
        return await self._purge(statements("feedback")["purge"], before=now - FEEDBACK_RETENTION)

    async def delete_mails_sent(self, now: datetime) -> int:
        return await self._purge(statements("invitations")["purge_mails_sent"], before=now - MAIL_COUNT_RETENTION)

    async def delete_push_sends(self, now: datetime) -> int:
        return await self._purge(statements("push")["purge_sends"], before=now - PUSH_RECORD_RETENTION)

    async def delete_weather(self, now: datetime) -> int:
        return await self._purge(statements("weather")["purge"], before=now - WEATHER_RETENTION)

    async def end_expired_sharing(self, now: datetime) -> int:
        return await self._purge(statements("locations")["expire"], now=now)

    async def delete_positions(self, now: datetime) -> int:
        [row] = await self._sql.fetch(
            statements("locations")["keep_days"],
            today=now.astimezone(UTC).date(),
            ahead=DAYS_AHEAD,
            kept=POSITION_RETENTION.days,
        )
        views = await self._purge(statements("locations")["purge_views"], before=now - POSITION_RETENTION)
        return int(row["changed"]) + views

    async def _purge(self, statement: Statement, **params: object) -> int:
        async def batch() -> int:
            return len(await self._sql.fetch(statement, limit=DELETE_BATCH, **params))

        return await in_batches(batch, DELETE_BATCH)
