"""`Places` with Amazon Location, against a fake that answers in its shape; its model checks the requests."""

import json
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from nomadcrew.adapters.aws.places import AmazonPlaces
from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.adapters.aws.sdk.services import PLACES, endpoint_of
from nomadcrew.core.places.model import Coordinates, Place, PlacesUnavailable
from tests.contract.faulty_server import KEYS, FaultyServer

PORTO = Coordinates(41.15, -8.61)
OPERATIONS = {"/v2/suggest": "Suggest", "/v2/reverse-geocode": "ReverseGeocode"}
SUGGESTED = {
    "ResultItems": [
        {
            "Title": "Porto, Portugal",
            "SuggestResultItemType": "Place",
            "Place": {
                "PlaceId": "AQAAAFUA", "PlaceType": "Locality",
                "Address": {"Label": "Porto, Portugal", "Region": {"Name": "Porto"}, "Locality": "Porto",
                            "Country": {"Code2": "PT", "Code3": "PRT", "Name": "Portugal"}},
                "Position": [-8.61024, 41.14961], "Distance": 1234, "MapView": [-8.69, 41.13, -8.55, 41.18],
                "TimeZone": {"Name": "Europe/Lisbon", "Offset": "+00:00", "OffsetSeconds": 0},
            },
            "Highlights": {"Title": [{"StartIndex": 0, "EndIndex": 2, "Value": "Po"}]},
        },
        {"Title": "Ports", "SuggestResultItemType": "Query", "Query": {"QueryId": "AbC", "QueryType": "Category"}},
        {"Title": "4000", "SuggestResultItemType": "Place", "Place": {"PlaceId": "x", "PlaceType": "PostalCode"}},
    ],
    "QueryRefinements": [],
}  # fmt: skip
REVERSED = {
    "ResultItems": [
        {"PlaceId": "AQAAAFUB", "PlaceType": "Locality", "Title": "Vila Nova de Gaia, Porto, Portugal",
         "Address": {"Country": {"Code2": "PT"}}, "Position": [-8.617, 41.124], "Distance": 2890}
    ]
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    made = FaultyServer()
    yield made
    made.close()


@pytest.fixture
def places(server: FaultyServer) -> Iterator[AmazonPlaces]:
    client = AwsClient(PLACES, url=server.url, environment=KEYS)
    yield AmazonPlaces(client)
    client.close()


def checked(server: FaultyServer) -> Any:
    """The body of the only request, after its check with the service's model."""
    [(path, headers, body)] = server.requests
    sent = json.loads(body)
    model = botocore.session.Session().get_service_model("geo-places").operation_model(OPERATIONS[path])
    assert (model.http["method"], model.http["requestUri"]) == ("POST", path)
    assert model.input_shape is not None
    report = ParamValidator().validate(sent, model.input_shape)
    assert not report.has_errors(), report.generate_report()
    assert "/eu-west-1/geo-places/aws4_request" in headers["authorization"]
    return sent


async def test_places_are_suggested_near_coordinates(places: AmazonPlaces, server: FaultyServer) -> None:
    server.answers = [(200, SUGGESTED, {})]
    found = await places.suggest("por", near=PORTO, limit=5)
    assert found.places == [
        Place(
            "amazon:AQAAAFUA",
            "Porto",
            "Porto, Portugal",
            "PT",
            Coordinates(41.14961, -8.61024),
            "Europe/Lisbon",
            1.2,
        )
    ]
    sent = checked(server)
    assert (sent["QueryText"], sent["BiasPosition"], sent["MaxResults"]) == ("por", [-8.61, 41.15], 5)
    assert sent["IntendedUse"] == "SingleUse"


async def test_places_are_suggested_anywhere(places: AmazonPlaces, server: FaultyServer) -> None:
    server.answers = [(200, {"ResultItems": []}, {})]
    assert (await places.suggest("東京", near=None, limit=20)).places == []
    assert "BiasPosition" not in checked(server)


async def test_the_place_at_coordinates_may_be_stored(places: AmazonPlaces, server: FaultyServer) -> None:
    server.answers = [(200, REVERSED, {})]
    [place] = (await places.reverse(PORTO)).places
    assert place == Place(
        "amazon:AQAAAFUB", "Vila Nova de Gaia", "Vila Nova de Gaia, Porto, Portugal", "PT",
        Coordinates(41.124, -8.617), None, 2.9,
    )  # fmt: skip
    sent = checked(server)
    assert (sent["IntendedUse"], sent["QueryPosition"]) == ("Storage", [-8.61, 41.15])


@pytest.mark.parametrize(
    "answer",
    [
        (403, {"message": "not authorized", "__type": "AccessDeniedException"}, {}),
        (400, {"message": "bad"}, {"x-amzn-errortype": "ValidationException"}),
        (429, {"message": "slow down"}, {"x-amzn-errortype": "ThrottlingException"}),
        (500, {}, {}),
        (200, {"ResultItems": "none"}, {}),
    ],
)
async def test_a_refusal_is_an_outage_without_the_coordinates(
    places: AmazonPlaces, server: FaultyServer, answer: tuple[int, dict[str, Any], dict[str, str]]
) -> None:
    server.answers = [answer]
    for call in (places.suggest("por", near=PORTO, limit=5), places.reverse(PORTO)):
        with pytest.raises(PlacesUnavailable) as outage:
            await call
        assert "41" not in str(outage.value.details)


def test_the_address_is_that_of_the_service() -> None:
    assert endpoint_of(PLACES, {"AWS_REGION": "eu-west-1"}).host == "places.geo.eu-west-1.amazonaws.com"
