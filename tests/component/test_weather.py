"""The weather routes, with a weather service on a local port."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio

from nomadcrew.core.scheduled_jobs import SCHEDULED_JOBS, run_scheduled_job
from tests.open_meteo import OpenMeteoServer, open_meteo
from tests.postgres import Postgres
from tests.world import World, world


@pytest.fixture
def service() -> Iterator[OpenMeteoServer]:
    with open_meteo() as running:
        running.first_day = date(2026, 11, 22)
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path: Path, service: OpenMeteoServer
) -> AsyncIterator[World]:
    environment = {"NOMADCREW_WEATHER_URL": service.url}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield made


@pytest.mark.contract("rest-core.weather", "rest-core.weather.fix-aliases", "jobs.weather-reply")
async def test_a_member_gets_the_weather_and_the_forecast_of_the_trips_days(stage: World) -> None:
    ana = await stage.user("ana")
    trip = await stage.trip(ana)
    reply = await stage.call("GET", f"/v1/trips/{trip}/weather", by=ana)
    assert reply.status == 200, reply.body
    shown = reply.json
    forecast = shown.pop("forecast")
    assert shown == {
        "tripId": str(trip), "timestamp": "2026-11-22T12:00:00Z", "latitude": 41.15, "longitude": -8.61,
        "timezone": "Europe/Lisbon", "stale": False, "ageSeconds": 0, "temperatureCelsius": 14.3, "weatherCode": 61,
        "description": "Light rain", "isDay": True, "apparentTempCelsius": 13.1, "humidityPercent": 81,
        "humidity": 81, "cloudCoverPercent": 92, "windDirectionDeg": 238, "precipitationMM": 0.4, "rainMM": 0.3,
        "showersMM": 0.1, "snowfallCM": 0.0, "pressureMSLhPa": 1013.2, "surfacePressurehPa": 1001.9,
        "windSpeedMS": 4.12, "windSpeed": 4.12, "windGustsMS": 9.8,
    }  # fmt: skip
    # The trip begins on 1 December; the source knows the days until the 7th.
    assert [day["date"] for day in forecast] == [f"2026-12-0{n}" for n in range(1, 8)]
    assert forecast[0] == {
        "date": "2026-12-01", "weatherCode": 61, "description": "Light rain", "temperatureMaxCelsius": 16.2,
        "temperatureMinCelsius": 9.4, "precipitationMM": 3.1, "precipitationProbabilityPercent": 88,
        "windSpeedMaxMS": 7.7, "sunrise": "2026-12-01T07:31:00Z", "sunset": "2026-12-01T17:08:00Z",
    }  # fmt: skip


@pytest.mark.contract("rest-core.weather", "rest-core.weather.fix-cache", "jobs.weather.compat-cache")
async def test_all_trips_and_routes_share_an_answer_for_15_minutes(stage: World, service: OpenMeteoServer) -> None:
    ana, ben = await stage.user("ana"), await stage.user("ben")
    first, second = await stage.trip(ana), await stage.trip(ben, destinationLatitude=41.1512)
    got = await stage.call("GET", f"/v1/trips/{first}/weather", by=ana)
    stage.clock.advance(14 * 60)
    for method, path in (("GET", "weather"), ("POST", "weather/trigger")):
        reply = await stage.call(method, f"/v1/trips/{second}/{path}", by=ben)
        assert (reply.json["timestamp"], reply.json["ageSeconds"]) == (got.json["timestamp"], 14 * 60)
        assert reply.json["latitude"] == 41.1512
    assert len(service.queries) == 1
    stage.clock.advance(60)
    assert (await stage.call("GET", f"/v1/trips/{first}/weather", by=ana)).json["ageSeconds"] == 0
    assert len(service.queries) == 2


async def test_the_last_answer_is_stale_while_the_service_fails(stage: World, service: OpenMeteoServer) -> None:
    ana = await stage.user("ana")
    trip = await stage.trip(ana)
    await stage.call("GET", f"/v1/trips/{trip}/weather", by=ana)
    service.failure = 429
    stage.clock.advance(3000)
    ana = replace(ana, token=await stage.token(ana.id, ana.username))
    reply = await stage.call("GET", f"/v1/trips/{trip}/weather", by=ana)
    assert (reply.status, reply.json["stale"], reply.json["ageSeconds"]) == (200, True, 3000)
    stage.clock.advance(24 * 3600)
    ana = replace(ana, token=await stage.token(ana.id, ana.username))
    reply = await stage.call("GET", f"/v1/trips/{trip}/weather", by=ana)
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "weather_unavailable", "60")


@pytest.mark.contract("jobs.weather-failure")
@pytest.mark.parametrize("failure", [429, 500, "garbage", "half", "empty"])
async def test_a_service_that_never_answered_is_an_outage(
    stage: World, service: OpenMeteoServer, failure: int | str
) -> None:
    service.failure = failure
    ana = await stage.user("ana")
    reply = await stage.call("GET", f"/v1/trips/{await stage.trip(ana)}/weather", by=ana)
    assert (reply.status, reply.code) == (503, "weather_unavailable")
    assert "41.15" not in reply.json["details"]


@pytest.mark.contract("rest-core.weather.no-destination", "jobs.weather.compat-cache")
async def test_a_trip_without_a_destination_gets_403_in_every_status(stage: World) -> None:
    ana = await stage.user("ana")
    trip = await stage.trip(ana, destinationLatitude=0, destinationLongitude=0)
    for method, path in (("GET", "weather"), ("POST", "weather/trigger")):
        reply = await stage.call(method, f"/v1/trips/{trip}/{path}", by=ana)
        assert (reply.status, reply.code, reply.json["type"]) == (403, "no_destination", "AUTHORIZATION")
    elsewhere = await stage.trip(ana, name="with one")
    await stage.call("PATCH", f"/v1/trips/{elsewhere}/status", by=ana, body={"status": "CANCELLED"})
    assert (await stage.call("GET", f"/v1/trips/{elsewhere}/weather", by=ana)).status == 200


async def test_a_new_time_zone_moves_the_days_of_the_forecast(stage: World, service: OpenMeteoServer) -> None:
    ana = await stage.user("ana")
    trip: UUID = await stage.trip(ana, startDate="2026-11-01T00:00:00Z")
    path = f"/v1/trips/{trip}"
    assert (await stage.call("GET", f"{path}/weather", by=ana)).json["forecast"][0]["date"] == "2026-11-22"
    changed = await stage.call("PUT", path, by=ana, body={"timezone": "Pacific/Kiritimati"})
    assert changed.json["timezone"] == "Pacific/Kiritimati"
    moved = (await stage.call("GET", f"{path}/weather", by=ana)).json
    assert (moved["timezone"], moved["forecast"][0]["date"]) == ("Pacific/Kiritimati", "2026-11-23")
    assert service.queries[-1]["timezone"] == "Pacific/Kiritimati"


async def test_connected_members_of_active_trips_get_the_weather_hourly(
    stage: World, service: OpenMeteoServer
) -> None:
    ana, ben, cleo = [await stage.user(name) for name in ("ana", "ben", "cleo")]
    active, offline = await stage.trip(ana, status="ACTIVE"), await stage.trip(cleo, status="ACTIVE", name="away")
    await stage.join(active, ana, ben)
    await stage.trip(ana, name="planned")
    presence = stage.ports.presence
    for user in (ana, ben):
        await presence.connected(user.id, "a socket", now=stage.clock())
    [job] = [job for job in SCHEDULED_JOBS if job.name == "weather-updates"]
    stage.told.events.clear()
    assert await run_scheduled_job(job, stage.ports) == 1
    [event] = stage.told.events
    assert (event.type, event.trip_id, event.audience, event.kept) == ("WEATHER_UPDATED", active, "trip", False)
    assert offline != active
    assert json.loads(event.payload) == {
        "tripId": str(active), "temperatureCelsius": 14.3, "weatherCode": 61, "description": "Light rain",
        "timestamp": "2026-11-22T12:00:00Z", "humidity": 81, "windSpeed": 4.12,
    }  # fmt: skip
    assert len(service.queries) == 1


async def test_the_weather_can_be_turned_off(postgres: Postgres, template: str, tmp_path: Path) -> None:
    environment = {"NOMADCREW_WEATHER_URL": "off"}
    async with world(postgres, tmp_path, template=template, environment=environment) as stage:
        ana = await stage.user("ana")
        reply = await stage.call("GET", f"/v1/trips/{await stage.trip(ana)}/weather", by=ana)
        assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "weather_off", "3600")


@pytest.mark.contract("rest-activity.rate-limit.fix-per-user", "jobs.weather.compat-cache")
async def test_the_weather_has_a_limit_of_its_own(postgres: Postgres, template: str, tmp_path: Path) -> None:
    environment = {"NOMADCREW_RATE_LIMITS": "weather=1/60"}
    async with world(postgres, tmp_path, template=template, environment=environment) as stage:
        ana = await stage.user("ana")
        trip = await stage.trip(ana)
        replies = [await stage.call("GET", f"/v1/trips/{trip}/weather", by=ana) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 429]
        assert (await stage.call("GET", f"/v1/trips/{trip}", by=ana)).status == 200
