"""`Places` with the gazetteer in PostgreSQL."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nomadcrew.adapters.machine.gazetteer import row
from nomadcrew.adapters.postgres.places import ATTRIBUTION, PostgresGazetteer
from nomadcrew.core.places.model import Coordinates, FoundPlaces, Place, PlacesUnavailable
from tests.contract.conftest import sql_over
from tests.gazetteer import COUNTRIES, load_towns, parts, towns
from tests.postgres import Postgres

PORTO = Coordinates(41.15, -8.61)
OREGON = Coordinates(45.5, -122.6)


@pytest_asyncio.fixture(loop_scope="session")
async def empty(
    request: pytest.FixtureRequest, postgres: Postgres, template: str
) -> AsyncIterator[PostgresGazetteer]:
    async with sql_over("postgresql", request, postgres, template) as sql:
        yield PostgresGazetteer(sql)


@pytest_asyncio.fixture(loop_scope="session")
async def gazetteer(
    request: pytest.FixtureRequest, postgres: Postgres, template: str
) -> AsyncIterator[PostgresGazetteer]:
    async with sql_over("postgresql", request, postgres, template) as sql:
        await load_towns(sql)
        yield PostgresGazetteer(sql)


def names(found: FoundPlaces) -> list[str]:
    return [place.name for place in found.places]


async def suggested(gazetteer: PostgresGazetteer, text: str, near: Coordinates | None = None) -> list[str]:
    return names(await gazetteer.suggest(text, near=near, limit=10))


async def test_a_place_has_its_coordinates_country_and_time_zone(gazetteer: PostgresGazetteer) -> None:
    found = await gazetteer.suggest("porto", near=PORTO, limit=1)
    assert found.attribution == ATTRIBUTION
    assert found.places == [
        Place(
            "geonames:2735943", "Porto", "Porto, Portugal", "PT", Coordinates(41.1496, -8.611), "Europe/Lisbon", 0.1
        )
    ]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("sao p", "São Paulo"), ("SÃO", "São Paulo"), ("são paulo", "São Paulo"), ("koln", "Köln"), ("KÖ", "Köln"),
        ("cologne", "Köln"), ("lissabon", "Lisbon"), ("лисс", "Lisbon"), ("東京", "Tokyo"), ("東", "Tokyo"),
        ("ｔｏｋｙｏ", "Tokyo"), ("oporto", "Porto"),
    ],
)  # fmt: skip
async def test_a_place_is_found_by_any_name_accents_and_case_aside(
    gazetteer: PostgresGazetteer, text: str, first: str
) -> None:
    assert (await suggested(gazetteer, text))[0] == first


async def test_own_names_and_large_places_come_first(gazetteer: PostgresGazetteer) -> None:
    found = await gazetteer.suggest("po", near=None, limit=10)
    assert [place.address for place in found.places] == [
        "Porto Alegre, Brazil", "Portland, United States", "Porto, Portugal", "São Paulo, Brazil",
        "Portland, United States",
    ]  # fmt: skip
    assert {place.distance_km for place in found.places} == {None}


async def test_a_whole_name_comes_before_longer_ones(gazetteer: PostgresGazetteer) -> None:
    assert (await suggested(gazetteer, "porto"))[:2] == ["Porto", "Porto Alegre"]


async def test_near_places_come_first(gazetteer: PostgresGazetteer) -> None:
    assert (await suggested(gazetteer, "po", PORTO))[0] == "Porto"
    found = await gazetteer.suggest("po", near=OREGON, limit=2)
    assert (found.places[0].name, found.places[0].distance_km) == ("Portland", 6.5)


async def test_text_that_no_name_begins_with_finds_nothing(gazetteer: PostgresGazetteer) -> None:
    for text in ("xyz", "orto", "po%", "_orto", "\\"):
        assert await suggested(gazetteer, text) == []


async def test_the_list_is_limited(gazetteer: PostgresGazetteer) -> None:
    assert len((await gazetteer.suggest("po", near=None, limit=2)).places) == 2


@pytest.mark.parametrize(
    ("latitude", "longitude", "name", "distance_km"),
    [(41.16, -8.62, "Porto", 1.4), (-16.5, -179.9, "Labasa", 78.8), (38.0, -9.1, "Lisbon", 79.7)],
)
async def test_coordinates_have_the_nearest_place_also_across_the_date_line(
    gazetteer: PostgresGazetteer, latitude: float, longitude: float, name: str, distance_km: float
) -> None:
    [place] = (await gazetteer.reverse(Coordinates(latitude, longitude))).places
    assert place.name == name
    assert place.distance_km == pytest.approx(distance_km, abs=0.1)


@pytest.mark.parametrize("at", [(0.0, 0.0), (90.0, 0.0), (-90.0, 180.0), (41.15, -11.0)])
async def test_coordinates_far_from_all_places_have_none(
    gazetteer: PostgresGazetteer, at: tuple[float, float]
) -> None:
    assert (await gazetteer.reverse(Coordinates(*at))).places == []


async def test_before_the_data_is_loaded_there_is_an_outage(empty: PostgresGazetteer) -> None:
    with pytest.raises(PlacesUnavailable, match="being loaded"):
        await empty.suggest("po", near=None, limit=1)
    with pytest.raises(PlacesUnavailable, match="being loaded"):
        await empty.reverse(PORTO)
    assert await empty.version() is None


async def test_new_data_replaces_all_places(empty: PostgresGazetteer) -> None:
    assert await empty.replace(parts(towns()), "one") == len(towns())
    assert await empty.replace(parts(towns()[:1]), "two") == 1
    assert await empty.version() == "two"
    assert (await suggested(empty, "po"), await suggested(empty, "li")) == (["Porto"], [])


async def test_data_that_ends_early_changes_nothing(empty: PostgresGazetteer) -> None:
    await empty.replace(parts(towns()), "one")

    async def broken() -> AsyncIterator[str]:
        async for part in parts(towns()[:1]):
            yield part
        raise RuntimeError("the towns could not be read")

    with pytest.raises(RuntimeError):
        await empty.replace(broken(), "two")
    assert await empty.version() == "one"
    assert await suggested(empty, "li") == ["Lisbon"]


def test_a_town_has_each_key_once_and_no_empty_one() -> None:
    [porto, *_] = towns()
    made = row(porto | {"alternatenames": ["PORTO", "Pôrto", "", "x" * 101]}, COUNTRIES)
    assert (made["keys"], made["main_key"], made["address"]) == (["porto"], "porto", "Porto, Portugal")
    assert row(porto | {"countrycode": "XX"}, COUNTRIES)["address"] == "Porto"
