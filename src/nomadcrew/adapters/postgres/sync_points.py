"""The present point of synchronisation. Apart from `sync`, which loads the records of every feature."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.adapters.postgres.sql import Sql, json_param, statements
from nomadcrew.core.ids import MessageId, TripId
from nomadcrew.core.sync.cursors import Cursor

_SQL = statements("sync")


class PostgresSyncPoints:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def present(self, now: datetime) -> Cursor:
        [row] = await self._sql.fetch(_SQL["point"])
        return Cursor(row["epoch"], row["target"], now)

    async def note_messages(self, ids: Sequence[MessageId], trip_id: TripId) -> None:
        """Note messages that another store holds as changed."""
        await self._sql.fetch(_SQL["note_messages"], ids=json_param(ids), trip_id=trip_id)
