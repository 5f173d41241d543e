"""Calendars on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.adapters.postgres.refusals import Refusals, raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, statements
from nomadcrew.core.calendars.model import (
    MAX_CALENDARS,
    MAX_TODOS,
    MAX_TRIPS,
    Calendar,
    CalendarEntries,
    CalendarNotFound,
    CalendarTodo,
    CalendarTrip,
    TooManyCalendars,
)
from nomadcrew.core.errors import NotOnboarded
from nomadcrew.core.ids import CalendarId, TripId, UserId

_SQL = statements("calendars")
_ALSO: Refusals = {"too_many_calendars": TooManyCalendars}


class PostgresCalendars:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def add(
        self,
        user_id: UserId,
        calendar_id: CalendarId,
        trip_id: TripId | None,
        *,
        min_rank: int,
        has_trips: bool,
        has_todos: bool,
        now: datetime,
    ) -> Calendar:
        [row] = await self._sql.fetch(
            _SQL["add"],
            caller=user_id,
            id=calendar_id,
            trip_id=trip_id,
            min_rank=min_rank,
            has_trips=has_trips,
            has_todos=has_todos,
            max_calendars=MAX_CALENDARS,
            now=now,
        )
        raise_for_verdict(row["verdict"], also=_ALSO)
        return _calendar(row)

    async def of(self, user_id: UserId) -> Sequence[Calendar]:
        rows = await self._sql.fetch(_SQL["of"], caller=user_id, limit=MAX_CALENDARS)
        if not rows:
            raise NotOnboarded
        return [_calendar(row) for row in rows if row["id"] is not None]

    async def delete(self, user_id: UserId, calendar_id: CalendarId) -> None:
        if not await self._sql.fetch(_SQL["delete"], caller=user_id, id=calendar_id):
            raise NotOnboarded

    async def entries(self, calendar_id: CalendarId) -> CalendarEntries:
        rows = await self._sql.fetch(_SQL["entries"], id=calendar_id, max_trips=MAX_TRIPS, max_todos=MAX_TODOS)
        if not rows:
            raise CalendarNotFound
        return CalendarEntries(
            rows[0]["calendar_name"],
            [_trip(row) for row in rows if row["kind"] == "trip"],
            [_todo(row) for row in rows if row["kind"] == "todo"],
        )


def _calendar(row: Row) -> Calendar:
    return Calendar(
        row["id"], row["trip_id"], row["trip_name"], row["has_trips"], row["has_todos"], row["created_at"]
    )


def _trip(row: Row) -> CalendarTrip:
    return CalendarTrip(
        row["id"],
        row["trip_name"],
        row["text"],
        row["place"],
        row["latitude"],
        row["longitude"],
        row["start_date"],
        row["end_date"],
        row["status"],
        row["updated_at"],
    )


def _todo(row: Row) -> CalendarTodo:
    return CalendarTodo(row["id"], row["trip_name"], row["text"], row["status"], row["due_at"], row["updated_at"])
