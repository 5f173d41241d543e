"""A few towns for tests, as the library of the gazetteer has them."""

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from nomadcrew.adapters.machine.gazetteer import row
from nomadcrew.adapters.postgres.places import PostgresGazetteer
from nomadcrew.adapters.postgres.sql import Sql

COUNTRIES = {"PT": "Portugal", "BR": "Brazil", "US": "United States", "DE": "Germany", "JP": "Japan", "FJ": "Fiji"}
_TOWNS: tuple[tuple[int, str, str, float, float, int, str, tuple[str, ...]], ...] = (
    (2735943, "Porto", "PT", 41.1496, -8.611, 249_633, "Europe/Lisbon", ("Oporto", "O Porto", "ポルト", "")),
    (3452925, "Porto Alegre", "BR", -30.0328, -51.2302, 1_372_741, "America/Sao_Paulo", ("POA",)),
    (5746545, "Portland", "US", 45.5234, -122.6762, 652_503, "America/Los_Angeles", ("Portlend",)),
    (4975802, "Portland", "US", 43.6615, -70.2553, 66_881, "America/New_York", ()),
    (2267057, "Lisbon", "PT", 38.7167, -9.1333, 517_802, "Europe/Lisbon", ("Lisboa", "Lissabon", "Лиссабон")),
    (3448439, "São Paulo", "BR", -23.5475, -46.6361, 12_400_232, "America/Sao_Paulo", ("Sao Paulo", "Porte")),
    (2886242, "Köln", "DE", 50.9333, 6.95, 963_395, "Europe/Berlin", ("Cologne", "Koeln")),
    (1850147, "Tokyo", "JP", 35.6895, 139.6917, 8_336_599, "Asia/Tokyo", ("東京", "Tokio")),
    (2204582, "Labasa", "FJ", -16.4332, 179.3645, 27_949, "Pacific/Fiji", ("Lambasa",)),
)


def towns() -> list[dict[str, Any]]:
    return [
        {
            "geonameid": id_, "name": name, "countrycode": country, "latitude": latitude, "longitude": longitude,
            "population": population, "timezone": zone, "alternatenames": list(others),
        }
        for id_, name, country, latitude, longitude, population, zone, others in _TOWNS
    ]  # fmt: skip


async def parts(chosen: Iterable[dict[str, Any]]) -> AsyncIterator[str]:
    for town in chosen:
        yield json.dumps([row(town, COUNTRIES)])


async def load_towns(sql: Sql) -> None:
    """Load the towns, unless they are loaded."""
    gazetteer = PostgresGazetteer(sql)
    if await gazetteer.version() is None:
        await gazetteer.replace(parts(towns()), "tests")
