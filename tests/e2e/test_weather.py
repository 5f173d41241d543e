"""The weather at destinations, and their time zones, through the public API."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.client import NEW_TRIP, Api, eventually
from tests.e2e.conftest import Register
from tests.e2e.server import Server
from tests.open_meteo import open_meteo


def around_today(**fields: Any) -> dict[str, Any]:
    """A trip that began a week ago and ends in a week."""
    now = datetime.now(UTC)
    dates = {"startDate": now - timedelta(days=7), "endDate": now + timedelta(days=7)}
    return NEW_TRIP | {name: day.isoformat() for name, day in dates.items()} | fields


async def test_a_member_sees_the_weather_and_the_days_that_are_left(register: Register) -> None:
    ana = await register("ana")
    trip = await ana.ask("POST", "/v1/trips", around_today())
    assert trip["timezone"] == "Europe/Lisbon"
    weather = await ana.ask("GET", f"/v1/trips/{trip['id']}/weather")
    assert (weather["temperatureCelsius"], weather["weatherCode"], weather["description"]) == (
        14.3,
        61,
        "Light rain",
    )
    assert (weather["humidity"], weather["windSpeed"], weather["stale"]) == (81, 4.12, False)
    assert 7 <= len(weather["forecast"]) <= 8
    assert weather["forecast"][0]["sunrise"].endswith("Z")
    again = await ana.ask("POST", f"/v1/trips/{trip['id']}/weather/trigger")
    assert again["timestamp"] == weather["timestamp"]


async def test_a_trip_without_a_destination_has_no_weather(register: Register) -> None:
    ana = await register("ana")
    trip = await ana.ask("POST", "/v1/trips", around_today(destinationLatitude=0, destinationLongitude=0))
    assert trip["timezone"] == "UTC"
    refused = await ana.send("GET", f"/v1/trips/{trip['id']}/weather")
    assert (refused.status_code, refused.json()["code"]) == (403, "no_destination")


async def test_an_admin_sets_the_time_zone_of_a_trip(register: Register) -> None:
    ana = await register("ana")
    trip = await ana.ask("POST", "/v1/trips", around_today())
    path = f"/v1/trips/{trip['id']}"
    assert (await ana.ask("PUT", path, {"timezone": "Asia/Kathmandu"}))["timezone"] == "Asia/Kathmandu"
    assert (await ana.ask("GET", path))["timezone"] == "Asia/Kathmandu"
    moved = await ana.ask("PUT", path, {"destinationLatitude": 1.87, "destinationLongitude": -157.4})
    assert moved["timezone"] == "Pacific/Kiritimati"
    refused = await ana.send("PUT", path, {"timezone": "Mars/Olympus"})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_time_zone")


@pytest.mark.one_machine("counts the requests to a service of its own, which fails")
async def test_workers_share_an_answer_and_return_it_while_the_service_fails() -> None:
    with open_meteo() as service:

        async def queried() -> bool:
            return bool(service.queries)

        settings = {"NOMADCREW_RATE_LIMITS": "off", "NOMADCREW_WEATHER_URL": service.url, "NOMADCREW_WORKERS": "2"}
        async with Server(**settings) as server:
            api = Api(server.url)
            ana = await api.register("ana")
            trips = [await ana.ask("POST", "/v1/trips", around_today(name=f"trip {n}")) for n in range(4)]
            service.gate.clear()
            asked = [
                asyncio.ensure_future(ana.send("GET", f"/v1/trips/{trip['id']}/weather")) for trip in trips * 3
            ]
            await eventually(queried)
            service.gate.set()
            replies = await asyncio.gather(*asked)
            assert {reply.status_code for reply in replies} == {200}
            assert len({reply.json()["timestamp"] for reply in replies}) == 1
            assert len(service.queries) == 1
            service.failure = 500
            elsewhere = await ana.ask("POST", "/v1/trips", around_today(destinationLatitude=12.5))
            refused = await ana.send("GET", f"/v1/trips/{elsewhere['id']}/weather")
            assert (refused.status_code, refused.json()["code"]) == (503, "weather_unavailable")
            kept = await ana.send("GET", f"/v1/trips/{trips[0]['id']}/weather")
            assert (kept.status_code, kept.json()["stale"]) == (200, False)
            await api.close()
