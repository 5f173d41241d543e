"""`WeatherSource` with Open-Meteo's adapter against a fake of its API."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest

from nomadcrew.adapters.http.breaker import Breaker
from nomadcrew.adapters.http.open_meteo import OpenMeteo
from nomadcrew.core.weather.model import Area, Conditions, ForecastDay, WeatherUnavailable
from tests.fakes import NOON
from tests.open_meteo import CURRENT, OpenMeteoServer, open_meteo

PORTO = Area(4115, -861, "Europe/Lisbon")


@pytest.fixture
def service() -> Iterator[OpenMeteoServer]:
    with open_meteo() as running:
        running.first_day = date(2026, 10, 24)
        yield running


@pytest.fixture
def source(service: OpenMeteoServer) -> OpenMeteo:
    return OpenMeteo(service.url, timeout_s=5)


async def test_the_conditions_and_days_of_an_area_are_read(source: OpenMeteo, service: OpenMeteoServer) -> None:
    weather = await source.fetch(PORTO, now=NOON)
    assert weather.fetched_at == NOON
    assert weather.conditions == Conditions(
        temperature_celsius=14.3, weather_code=61, is_day=True, apparent_temp_celsius=13.1, humidity_percent=81,
        cloud_cover_percent=92, wind_direction_deg=238, precipitation_mm=0.4, rain_mm=0.3, showers_mm=0.1,
        snowfall_cm=0.0, pressure_msl_hpa=1013.2, surface_pressure_hpa=1001.9, wind_speed_ms=4.12,
        wind_gusts_ms=9.8,
    )  # fmt: skip
    assert len(weather.days) == 16
    # Clocks go back on the second day.
    assert [day.sunrise for day in weather.days[:3]] == [
        datetime(2026, 10, 24, 6, 31, tzinfo=UTC),
        datetime(2026, 10, 25, 7, 31, tzinfo=UTC),
        datetime(2026, 10, 26, 7, 31, tzinfo=UTC),
    ]
    assert weather.days[0] == ForecastDay(
        day=date(2026, 10, 24), weather_code=61, temperature_max_celsius=16.2, temperature_min_celsius=9.4,
        precipitation_mm=3.1, precipitation_probability_percent=88, wind_speed_max_ms=7.7,
        sunrise=datetime(2026, 10, 24, 6, 31, tzinfo=UTC), sunset=datetime(2026, 10, 24, 16, 8, tzinfo=UTC),
    )  # fmt: skip


@pytest.mark.contract("jobs.weather-request")
async def test_the_query_has_the_rounded_coordinates_units_and_time_zone(
    source: OpenMeteo, service: OpenMeteoServer
) -> None:
    await source.fetch(PORTO, now=NOON)
    [query] = service.queries
    assert {name: query[name] for name in query.keys() - {"current", "daily"}} == {
        "latitude": "41.15", "longitude": "-8.61", "forecast_days": "16", "temperature_unit": "celsius",
        "wind_speed_unit": "ms", "precipitation_unit": "mm", "timezone": "Europe/Lisbon",
    }  # fmt: skip
    assert set(query["current"].split(",")) == CURRENT.keys() - {"time", "interval"}


async def test_values_that_the_service_lacks_are_none(source: OpenMeteo, service: OpenMeteoServer) -> None:
    service.current = {"temperature_2m": -3, "weather_code": 0.0, "is_day": 0, "wind_gusts_10m": None}
    service.daily = {"weather_code": None}
    weather = await source.fetch(PORTO, now=NOON)
    assert weather.conditions == Conditions(temperature_celsius=-3.0, weather_code=0, is_day=False)
    assert (weather.days[0].weather_code, weather.days[0].temperature_max_celsius) == (None, None)


@pytest.mark.contract("jobs.weather-failure")
@pytest.mark.parametrize("failure", [429, 500, 502, 302, 400, "garbage", "half", "empty"])
async def test_an_unusable_answer_is_an_outage(
    source: OpenMeteo, service: OpenMeteoServer, failure: int | str
) -> None:
    service.failure = failure
    with pytest.raises(WeatherUnavailable) as outage:
        await source.fetch(PORTO, now=NOON)
    assert "41" not in str(outage.value.details)


@pytest.mark.contract("jobs.weather-failure")
@pytest.mark.parametrize("failure", ["silent", "trickle"])
async def test_an_answer_that_does_not_end_is_an_outage(service: OpenMeteoServer, failure: str) -> None:
    service.failure = failure
    with pytest.raises(WeatherUnavailable, match="does not answer"):
        await OpenMeteo(service.url, timeout_s=0.3).fetch(PORTO, now=NOON)


async def test_a_server_that_is_not_there_is_an_outage() -> None:
    with pytest.raises(WeatherUnavailable):
        await OpenMeteo("http://127.0.0.1:9/v1/forecast").fetch(PORTO, now=NOON)


async def test_a_failing_service_is_not_asked_for_a_while(service: OpenMeteoServer) -> None:
    now_s = 0.0
    source = OpenMeteo(service.url, breaker=Breaker(failures=2, rest_s=30, monotonic=lambda: now_s), timeout_s=5)
    service.failure = "garbage"
    for _ in range(4):
        with pytest.raises(WeatherUnavailable):
            await source.fetch(PORTO, now=NOON)
    assert len(service.queries) == 2
    service.failure, now_s = "", 30.0
    assert (await source.fetch(PORTO, now=NOON)).conditions.weather_code == 61
