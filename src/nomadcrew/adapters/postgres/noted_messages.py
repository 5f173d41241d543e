"""Notes messages of another store as changed. Apart from `sync`, which loads the records of every feature."""

from collections.abc import Sequence

from nomadcrew.adapters.postgres.sql import Sql, json_param, statements
from nomadcrew.core.ids import MessageId, TripId


class PostgresNotedMessages:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def note(self, ids: Sequence[MessageId], trip_id: TripId) -> None:
        await self._sql.fetch(statements("sync")["note_messages"], ids=json_param(ids), trip_id=trip_id)
