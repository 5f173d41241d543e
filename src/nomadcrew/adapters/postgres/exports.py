"""Exports of trips that are too large for a reply, on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Sql, gate, json_param, statements
from nomadcrew.core.access import Access
from nomadcrew.core.archives.ports import Export, PendingExport
from nomadcrew.core.ids import EventId, ExportId, TripId, UserId

_SQL = statements("exports")


class PostgresTripExports:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def recent(self, access: Access, *, with_files: bool, since: datetime) -> Export | None:
        [row] = await self._sql.fetch(_SQL["recent"], **gate(access), with_files=with_files, since=since)
        raise_for_verdict(row["verdict"])
        if row["id"] is None:
            return None
        return Export(ExportId(row["id"]), row["stored_at"] is not None, row["is_too_large"])

    async def add(self, access: Access, export_id: ExportId, *, with_files: bool, now: datetime) -> None:
        await self._sql.fetch(_SQL["add"], **gate(access), id=export_id, with_files=with_files, now=now)

    async def pending(self, export_id: ExportId) -> PendingExport | None:
        rows = await self._sql.fetch(_SQL["pending"], id=export_id)
        if not rows:
            return None
        [row] = rows
        return PendingExport(TripId(row["trip_id"]), UserId(row["user_id"]), row["with_files"])

    async def complete(self, export_id: ExportId, size_bytes: int, event_id: EventId, *, now: datetime) -> None:
        await self._sql.fetch(_SQL["complete"], id=export_id, size_bytes=size_bytes, event_id=event_id, now=now)

    async def refuse(self, export_id: ExportId) -> None:
        await self._sql.fetch(_SQL["refuse"], id=export_id)

    async def expired(self, before: datetime, *, limit: int) -> Sequence[ExportId]:
        rows = await self._sql.fetch(_SQL["expired"], before=before, limit=limit)
        return [ExportId(row["id"]) for row in rows]

    async def forget(self, ids: Sequence[ExportId]) -> None:
        await self._sql.fetch(_SQL["forget"], ids=json_param(ids))
