"""The routes of places."""

from pathlib import Path

import pytest

from tests.gazetteer import load_towns
from tests.postgres import Postgres
from tests.world import World, world


async def test_places_are_suggested_with_what_a_destination_needs(here: World) -> None:
    await load_towns(here.pool)
    ana = await here.user("ana")
    reply = await here.call("GET", "/v1/places/suggest?q=por&near=41.15,-8.61&limit=1", by=ana)
    assert reply.status == 200, reply.body
    assert reply.json == {
        "places": [
            {
                "placeId": "geonames:2735943", "name": "Porto", "address": "Porto, Portugal", "latitude": 41.1496,
                "longitude": -8.611, "countryCode": "PT", "timezone": "Europe/Lisbon", "distanceKm": 0.1,
            }
        ],
        "attribution": "GeoNames (geonames.org), CC BY 4.0",
    }  # fmt: skip
    elsewhere = await here.call("GET", "/v1/places/suggest?q=s%C3%A3o", by=ana)
    [place] = elsewhere.json["places"]
    assert (place["name"], "distanceKm" in place) == ("São Paulo", False)


async def test_the_place_at_coordinates_is_returned_in_the_same_form(here: World) -> None:
    await load_towns(here.pool)
    ana = await here.user("ana")
    reply = await here.call("GET", "/v1/places/reverse?lat=41.16&lon=-8.62", by=ana)
    assert [(place["name"], place["distanceKm"]) for place in reply.json["places"]] == [("Porto", 1.4)]
    for nowhere in ("lat=0&lon=0", "lat=1e-183&lon=-6e-8"):
        assert (await here.call("GET", f"/v1/places/reverse?{nowhere}", by=ana)).json["places"] == []


@pytest.mark.parametrize(
    "query",
    ["suggest", "suggest?q=p", "suggest?q=po&near=here", "suggest?q=po&near=91,0", "reverse?lat=1", "reverse"],
)
async def test_a_request_without_a_usable_query_gets_400(here: World, query: str) -> None:
    ana = await here.user("ana")
    reply = await here.call("GET", f"/v1/places/{query}", by=ana)
    assert (reply.status, reply.code) == (400, "invalid_request_payload")


async def test_the_first_start_says_that_places_are_being_loaded(here: World) -> None:
    ana = await here.user("ana")
    reply = await here.call("GET", "/v1/places/suggest?q=po", by=ana)
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "places_unavailable", "5")


async def test_places_can_be_turned_off(postgres: Postgres, template: str, tmp_path: Path) -> None:
    environment = {"NOMADCREW_PLACES": "off"}
    async with world(postgres, tmp_path, template=template, environment=environment) as stage:
        ana = await stage.user("ana")
        reply = await stage.call("GET", "/v1/places/suggest?q=po", by=ana)
        assert (reply.status, reply.code) == (503, "places_off")
