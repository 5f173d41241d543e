"""Places through the public API of a server that has loaded them."""

import pytest

from tests.e2e.client import NEW_TRIP, Api, User, eventually
from tests.e2e.server import Server


@pytest.mark.one_machine("the list of towns is the machine host's; Amazon Location is not emulated")
async def test_a_destination_is_found_by_the_beginning_of_its_name_and_becomes_a_trip() -> None:
    async with Server(NOMADCREW_PLACES="offline", NOMADCREW_RATE_LIMITS="off") as server:
        api = Api(server.url)
        ana: User = await api.register("ana")

        async def loaded() -> bool:
            reply = await ana.send("GET", "/v1/places/suggest?q=po")
            assert reply.status_code == 200 or reply.json()["code"] == "places_unavailable"
            return reply.status_code == 200

        await eventually(loaded, within_s=60)
        found = await ana.ask("GET", "/v1/places/suggest?q=kathm")
        place = found["places"][0]
        assert (place["name"], place["timezone"]) == ("Kathmandu", "Asia/Kathmandu")
        assert found["attribution"].startswith("GeoNames")
        fields = {f"destination{name[0].upper()}{name[1:]}": place[name]
                  for name in ("placeId", "name", "address", "latitude", "longitude")}  # fmt: skip
        trip = await ana.ask("POST", "/v1/trips", NEW_TRIP | fields)
        assert (trip["destination"]["name"], trip["timezone"]) == ("Kathmandu", "Asia/Kathmandu")
        near = await ana.ask("GET", f"/v1/places/reverse?lat={place['latitude']}&lon={place['longitude']}")
        assert near["places"][0]["placeId"] == place["placeId"]
        await api.close()
        assert await server.stop() == 0
        await server.start()
        again = Api(server.url)
        # A second start finds the towns in place.
        bea = await again.register("bea")
        assert (await bea.ask("GET", "/v1/places/suggest?q=lisb"))["places"][0]["name"] == "Lisbon"
        await again.close()
        assert server.errors == []
