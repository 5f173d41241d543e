"""The status of trips on PostgreSQL, for the job that advances it."""

from collections.abc import Sequence
from datetime import date, datetime

from nomadcrew.adapters.postgres.sql import Sql, json_param, statements
from nomadcrew.core.ids import TripId
from nomadcrew.core.trips.statuses import OpenTrip, StatusChange

_SQL = statements("trip_statuses")


class PostgresTripStatuses:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def open_trips(self, *, today: date, after: TripId | None, limit: int) -> Sequence[OpenTrip]:
        rows = await self._sql.fetch(_SQL["open"], today=today, after=after, limit=limit)
        return [
            OpenTrip(row["id"], row["status"], row["start_date"], row["end_date"], row["timezone"]) for row in rows
        ]

    async def advance(self, changes: Sequence[StatusChange], *, now: datetime) -> int:
        return len(await self._sql.fetch(_SQL["advance"], changes=json_param(changes), now=now))
