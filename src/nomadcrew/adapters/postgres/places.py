"""Places from a gazetteer in PostgreSQL."""

from collections.abc import AsyncIterator, Sequence

from nomadcrew.adapters.postgres.sql import Row, Sql, compile_statement, statements
from nomadcrew.core.places.model import MAX_REVERSE_KM, Coordinates, FoundPlaces, Place, PlacesUnavailable
from nomadcrew.core.text import search_key

ATTRIBUTION = "GeoNames (geonames.org), CC BY 4.0"
_SQL = statements("places")
_LAST = "\U0010ffff"
# For the planner, which knows nothing of new rows. It also lets the suggestions read the index alone.
_VACUUM = compile_statement("vacuum_gazetteer", "VACUUM (ANALYZE) gazetteer_names, gazetteer_places")


class PostgresGazetteer:
    """`Places` in three tables."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def suggest(self, text: str, *, near: Coordinates | None, limit: int) -> FoundPlaces:
        key = search_key(text)
        rows = await self._sql.fetch(
            _SQL["suggest"],
            key=key,
            key_end=key + _LAST,
            latitude=None if near is None else near.latitude,
            longitude=None if near is None else near.longitude,
            limit=limit,
        )
        return _found(rows)

    async def reverse(self, at: Coordinates) -> FoundPlaces:
        rows = await self._sql.fetch(
            _SQL["reverse"], latitude=at.latitude, longitude=at.longitude, max_km=float(MAX_REVERSE_KM)
        )
        return _found(rows)

    async def version(self) -> str | None:
        """The version of the loaded data; None without any."""
        for row in await self._sql.fetch(_SQL["version"]):
            return str(row["version"])
        return None

    async def replace(self, parts: AsyncIterator[str], version: str) -> int:
        """Replace all places at once; returns the number of parts.

        Args:
            parts: JSON arrays of places with the columns of the table, and the search keys of their names.
        """
        count = 0
        async with self._sql.transaction():
            await self._sql.fetch(_SQL["clear"])
            async for part in parts:
                await self._sql.fetch(_SQL["load"], rows=part)
                count += 1
            await self._sql.fetch(_SQL["finish"], version=version)
        await self._sql.fetch(_VACUUM)
        return count


def _found(rows: Sequence[Row]) -> FoundPlaces:
    """The places in rows. One without a place stands for none; no row at all for data that is not loaded yet."""
    if not rows:
        raise PlacesUnavailable("The list of places is being loaded. Try again in a few seconds.")
    return FoundPlaces([_place(row) for row in rows if row["id"] is not None], ATTRIBUTION)


def _place(row: Row) -> Place:
    distance_km = row["distance_km"]
    return Place(
        id=f"geonames:{row['id']}",
        name=row["name"],
        address=row["address"],
        country_code=row["country_code"],
        at=Coordinates(row["latitude"], row["longitude"]),
        timezone=row["timezone"],
        distance_km=None if distance_km is None else round(distance_km, 1),
    )
