"""Background pictures of trips, on PostgreSQL."""

from datetime import datetime

from nomadcrew.adapters.postgres.sql import Sql, statements
from nomadcrew.core.backgrounds.model import FoundPhoto
from nomadcrew.core.ids import EventId, TripId

_SQL = statements("backgrounds")


class PostgresBackgrounds:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def get_query(self, trip_id: TripId) -> str | None:
        rows = await self._sql.fetch(_SQL["query"], trip_id=trip_id)
        return str(rows[0]["query"]) if rows else None

    async def fill(self, trip_id: TripId, photo: FoundPhoto, event_id: EventId, *, now: datetime) -> bool:
        rows = await self._sql.fetch(
            _SQL["fill"],
            trip_id=trip_id,
            url=photo.url,
            photographer=photo.photographer,
            page_url=photo.page_url,
            event_id=event_id,
            now=now,
        )
        return bool(rows)
