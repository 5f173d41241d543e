"""Attachments and their owners, on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.adapters.postgres.refusals import Refusals, raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, gate, json_param, statements
from nomadcrew.core.access import Access
from nomadcrew.core.chat.model import Attachment, AttachmentNotFound, AttachmentUsed
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import AttachmentId, MessageId, TripId, UserId
from nomadcrew.core.retention import FINGERPRINT_RETENTION

_SQL = statements("attachments")
REFUSALS: Refusals = {"attachment_not_found": AttachmentNotFound, "attachment_used": AttachmentUsed}


class PostgresAttachments:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def add(self, access: Access, attachment: Attachment, *, fingerprint: bytes, now: datetime) -> Attachment:
        [row] = await self._sql.fetch(
            _SQL["add"],
            id=attachment.id,
            **gate(access),
            type=attachment.kind.value,
            size_bytes=attachment.size_bytes,
            name=attachment.name,
            now=now,
            fingerprint=fingerprint,
            kept_until=now + FINGERPRINT_RETENTION,
        )
        if raise_for_verdict(row["verdict"], "replayed") == "ok":
            return attachment
        stored = await self._sql.fetch(_SQL["replayed"], fingerprint=fingerprint)
        if not stored:
            raise AttachmentNotFound
        return _attachment(stored[0])

    async def get(self, access: Access, attachment_id: AttachmentId) -> Attachment:
        [row] = await self._sql.fetch(
            _SQL["one"],
            **gate(access),
            id=attachment_id,
        )
        raise_for_verdict(row["verdict"], also=REFUSALS)
        return _attachment(row)

    async def claim(
        self, trip_id: TripId, attachment_id: AttachmentId, author: UserId, message_id: MessageId
    ) -> Attachment:
        [row] = await self._sql.fetch(
            _SQL["take"], trip_id=trip_id, id=attachment_id, author=author, message_id=message_id
        )
        raise_for_verdict(row["verdict"], also=REFUSALS)
        return _attachment(row)

    async def release(self, message_id: MessageId, *, now: datetime) -> AttachmentId | None:
        rows = await self._sql.fetch(_SQL["release"], message_id=message_id, now=now)
        return AttachmentId(rows[0]["id"]) if rows else None

    async def expire(self, unused_since: datetime, *, now: datetime, limit: int) -> int:
        rows = await self._sql.fetch(_SQL["expire"], unused_since=unused_since, now=now, limit=limit)
        return len(rows)

    async def list_deleted(self, *, limit: int) -> Sequence[tuple[TripId, AttachmentId]]:
        rows = await self._sql.fetch(_SQL["deleted"], limit=limit)
        return [(row["trip_id"], row["id"]) for row in rows]

    async def forget(self, ids: Sequence[AttachmentId]) -> None:
        await self._sql.fetch(_SQL["forget"], ids=json_param(ids))


def _attachment(row: Row) -> Attachment:
    return Attachment(row["id"], FileKind(row["type"]), row["size_bytes"], row["name"])
