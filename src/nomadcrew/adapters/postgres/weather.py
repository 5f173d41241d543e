"""Destinations, and the cache of the weather, on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter

import msgspec

from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Sql, gate, json_param, statements
from nomadcrew.core.access import Access
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.weather.model import FRESH_FOR, Area, Destination, Weather
from nomadcrew.core.weather.ports import Claim

_SQL = statements("weather")
_columns = itemgetter(  # in the order of `Destination`
    "id", "destination_latitude", "destination_longitude", "timezone", "start_date", "end_date"
)


class PostgresDestinations:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def get(self, access: Access) -> Destination:
        [row] = await self._sql.fetch(_SQL["destination"], **gate(access))
        raise_for_verdict(row["verdict"])
        return Destination(*_columns(row))

    async def of_active_trips(
        self, user_ids: Sequence[UserId], *, after: TripId | None, limit: int
    ) -> Sequence[Destination]:
        rows = await self._sql.fetch(
            _SQL["of_active_trips"], user_ids=json_param(list(user_ids)), after=after, limit=limit
        )
        return [Destination(*_columns(row)) for row in rows]


class PostgresWeatherCache:
    """`WeatherCache` in a table."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def claim(self, area: Area, *, now: datetime, until: datetime) -> Claim:
        rows = await self._sql.fetch(_SQL["claim"], area=area.key, now=now, until=until, stale_at=now - FRESH_FOR)
        if not rows:
            return Claim(mine=False, waiting=True, weather=None)
        return Claim(rows[0]["mine"], rows[0]["waiting"], weather_in(rows[0]["body"]))

    async def get(self, area: Area, *, now: datetime) -> Claim:
        for row in await self._sql.fetch(_SQL["get"], area=area.key, now=now):
            return Claim(False, row["waiting"], weather_in(row["body"]))
        return Claim(mine=False, waiting=False, weather=None)

    async def store(self, area: Area, weather: Weather) -> None:
        body = msgspec.json.encode(weather).decode()
        await self._sql.fetch(_SQL["store"], area=area.key, fetched_at=weather.fetched_at, body=body)

    async def postpone(self, area: Area, *, until: datetime) -> None:
        await self._sql.fetch(_SQL["postpone"], area=area.key, until=until)


def weather_in(body: str | None) -> Weather | None:
    """The stored answer; None without one, or if another version has written it."""
    if body is None:
        return None
    try:
        return msgspec.json.decode(body, type=Weather)
    except msgspec.MsgspecError:
        return None
