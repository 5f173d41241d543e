"""The weather from Open-Meteo, or a server with its API.

Source: https://open-meteo.com/en/docs
"""

import asyncio
from collections.abc import Sequence
from datetime import date, datetime
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from nomadcrew.adapters.http.breaker import Breaker
from nomadcrew.adapters.http.exchange import exchange
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.timezones import instant
from nomadcrew.core.weather.model import MAX_DAYS, Area, Conditions, ForecastDay, Weather, WeatherUnavailable

# Of the whole request: a screen waits for it.
TIMEOUT_S = 3.0
T = TypeVar("T")

_CURRENT = (
    "temperature_2m", "relative_humidity_2m", "apparent_temperature", "is_day", "precipitation", "rain", "showers",
    "snowfall", "weather_code", "cloud_cover", "pressure_msl", "surface_pressure", "wind_speed_10m",
    "wind_direction_10m", "wind_gusts_10m",
)  # fmt: skip
_DAILY = (
    "weather_code", "temperature_2m_max", "temperature_2m_min", "precipitation_sum",
    "precipitation_probability_max", "wind_speed_10m_max", "sunrise", "sunset",
)  # fmt: skip


class _Current(msgspec.Struct):
    temperature_2m: float
    weather_code: float
    is_day: float
    apparent_temperature: float | None = None
    relative_humidity_2m: float | None = None
    cloud_cover: float | None = None
    wind_direction_10m: float | None = None
    precipitation: float | None = None
    rain: float | None = None
    showers: float | None = None
    snowfall: float | None = None
    pressure_msl: float | None = None
    surface_pressure: float | None = None
    wind_speed_10m: float | None = None
    wind_gusts_10m: float | None = None


class _Daily(msgspec.Struct):
    """Columns; each has an entry per day, or is missing. Times are local, without an offset."""

    time: list[date]
    weather_code: list[float | None] = []
    temperature_2m_max: list[float | None] = []
    temperature_2m_min: list[float | None] = []
    precipitation_sum: list[float | None] = []
    precipitation_probability_max: list[float | None] = []
    wind_speed_10m_max: list[float | None] = []
    sunrise: list[str | None] = []
    sunset: list[str | None] = []


class _Answer(msgspec.Struct):
    current: _Current
    daily: _Daily


_answer_in = msgspec.json.Decoder(_Answer).decode


class OpenMeteo:
    """`WeatherSource` on the API at `url`, such as https://api.open-meteo.com/v1/forecast."""

    def __init__(self, url: str, *, breaker: Breaker | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._breaker = breaker or Breaker()
        self._timeout_s = timeout_s

    async def fetch(self, area: Area, *, now: datetime) -> Weather:
        query = urlencode(
            {
                "latitude": f"{area.latitude:.2f}",
                "longitude": f"{area.longitude:.2f}",
                "current": ",".join(_CURRENT),
                "daily": ",".join(_DAILY),
                "forecast_days": MAX_DAYS,
                "temperature_unit": "celsius",
                "wind_speed_unit": "ms",
                "precipitation_unit": "mm",
                "timezone": area.timezone,
            },
            safe=",/",
        )
        try:
            with self._breaker.call():
                return _weather(await self._answer(f"{self._url}?{query}"), area, now)
        except Unavailable as outage:
            raise WeatherUnavailable(details=outage.details) from None

    async def _answer(self, url: str) -> _Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await exchange("GET", url, None, {"accept": "application/json"}, timeout_s=self._timeout_s)
        except TimeoutError:
            raise Unavailable(details="weather: TimeoutError") from None
        if answer.status != 200:
            raise Unavailable(details=f"weather: {answer.status}")
        try:
            return _answer_in(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unavailable(details=f"weather: {type(error).__name__}") from None


def _weather(answer: _Answer, area: Area, now: datetime) -> Weather:
    current = answer.current
    conditions = Conditions(
        temperature_celsius=current.temperature_2m,
        weather_code=round(current.weather_code),
        is_day=bool(current.is_day),
        apparent_temp_celsius=current.apparent_temperature,
        humidity_percent=_whole(current.relative_humidity_2m),
        cloud_cover_percent=_whole(current.cloud_cover),
        wind_direction_deg=_whole(current.wind_direction_10m),
        precipitation_mm=current.precipitation,
        rain_mm=current.rain,
        showers_mm=current.showers,
        snowfall_cm=current.snowfall,
        pressure_msl_hpa=current.pressure_msl,
        surface_pressure_hpa=current.surface_pressure,
        wind_speed_ms=current.wind_speed_10m,
        wind_gusts_ms=current.wind_gusts_10m,
    )
    return Weather(now, conditions, _days(answer.daily, area.timezone))


def _days(daily: _Daily, timezone: str) -> list[ForecastDay]:
    return [
        ForecastDay(
            day=day,
            weather_code=_whole(_nth(daily.weather_code, n)),
            temperature_max_celsius=_nth(daily.temperature_2m_max, n),
            temperature_min_celsius=_nth(daily.temperature_2m_min, n),
            precipitation_mm=_nth(daily.precipitation_sum, n),
            precipitation_probability_percent=_whole(_nth(daily.precipitation_probability_max, n)),
            wind_speed_max_ms=_nth(daily.wind_speed_10m_max, n),
            sunrise=_instant(_nth(daily.sunrise, n), timezone),
            sunset=_instant(_nth(daily.sunset, n), timezone),
        )
        for n, day in enumerate(daily.time[:MAX_DAYS])
    ]


def _nth(column: Sequence[T | None], n: int) -> T | None:
    return column[n] if n < len(column) else None


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


def _instant(local: str | None, timezone: str) -> datetime | None:
    """The instant of a local time; None without one, which the source writes as 1970 or as no text."""
    if not local:
        return None
    try:
        time = datetime.fromisoformat(local)
    except ValueError:
        return None
    return None if time.year == 1970 else instant(time, timezone)
