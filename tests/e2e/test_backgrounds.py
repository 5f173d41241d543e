"""Background pictures of new trips, from a fake of Pexels."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.e2e.client import Api, eventually
from tests.e2e.server import LOG_TAIL, Server
from tests.pexels import KEY, PAGE, URL, PexelsServer, pexels

pytestmark = pytest.mark.one_machine("the search is a setting of the server, and that server has none")


@pytest.fixture(scope="module")
def service() -> Iterator[PexelsServer]:
    with pexels() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def illustrated(service: PexelsServer) -> AsyncIterator[Api]:
    """A client of a server with a search for pictures."""
    async with Server(
        NOMADCREW_RATE_LIMITS="off", NOMADCREW_PEXELS_API_KEY=KEY, NOMADCREW_PEXELS_URL=service.url
    ) as server:
        api = Api(server.url)
        yield api
        await api.close()
        assert await server.stop() == 0, server.log[-LOG_TAIL:]
        assert KEY not in server.log
        assert server.errors == [], "\n".join(server.errors)


async def test_a_new_trip_gets_a_picture_of_its_destination(illustrated: Api, service: PexelsServer) -> None:
    ana = await illustrated.register("ana")
    own = await ana.new_trip(backgroundImageUrl="https://example.org/own.jpg")
    trip_id = await ana.new_trip(destinationName="Porto")

    async def has_picture() -> bool:
        return bool((await ana.ask("GET", f"/v1/trips/{trip_id}"))["backgroundImageUrl"])

    await eventually(has_picture)
    [listed] = [trip for trip in await ana.ask("GET", "/v1/trips") if trip["id"] == trip_id]
    assert listed["backgroundImageUrl"] == URL
    assert listed["backgroundImageCredit"] == {"photographer": "Nuno Sá", "url": PAGE, "source": "Pexels"}
    kept = await ana.ask("GET", f"/v1/trips/{own}")
    assert (kept["backgroundImageUrl"], "backgroundImageCredit" in kept) == ("https://example.org/own.jpg", False)
    assert [query["query"] for query in service.queries] == ["Porto"]
    assert (await ana.ask("GET", "/v1/notifications")) == []
