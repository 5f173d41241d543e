"""Bodies of the weather routes."""

from datetime import date, datetime
from uuid import UUID

from msgspec import Struct, field

from nomadcrew.core.weather.model import ForecastDay, TripWeather, description


class ForecastDayView(Struct, rename="camel", omit_defaults=True):
    """A day at the destination. Values that the source does not have are left out."""

    date: date
    weather_code: int | None = None
    description: str | None = None
    temperature_max_celsius: float | None = None
    temperature_min_celsius: float | None = None
    precipitation_mm: float | None = field(default=None, name="precipitationMM")
    precipitation_probability_percent: int | None = None
    wind_speed_max_ms: float | None = field(default=None, name="windSpeedMaxMS")
    sunrise: datetime | None = None
    sunset: datetime | None = None


class WeatherView(Struct, rename="camel", omit_defaults=True):
    """The weather at a destination. Values that the source does not have are left out.

    `timestamp` is the time of the values. `stale` values are older than 15 minutes, because the source did not
    answer since. `humidity` repeats the humidity in percent, and `wind_speed` the wind in metres per second, under
    the names that the shipped app reads.
    """

    trip_id: UUID
    timestamp: datetime
    latitude: float
    longitude: float
    timezone: str
    stale: bool
    age_seconds: int
    temperature_celsius: float
    weather_code: int
    description: str
    is_day: bool
    forecast: list[ForecastDayView]
    apparent_temp_celsius: float | None = None
    humidity_percent: int | None = None
    humidity: int | None = None
    cloud_cover_percent: int | None = None
    wind_direction_deg: int | None = None
    precipitation_mm: float | None = field(default=None, name="precipitationMM")
    rain_mm: float | None = field(default=None, name="rainMM")
    showers_mm: float | None = field(default=None, name="showersMM")
    snowfall_cm: float | None = field(default=None, name="snowfallCM")
    pressure_msl_hpa: float | None = field(default=None, name="pressureMSLhPa")
    surface_pressure_hpa: float | None = field(default=None, name="surfacePressurehPa")
    wind_speed_ms: float | None = field(default=None, name="windSpeedMS")
    wind_speed: float | None = None
    wind_gusts_ms: float | None = field(default=None, name="windGustsMS")


def weather_view(weather: TripWeather) -> WeatherView:
    destination, now = weather.destination, weather.conditions
    return WeatherView(
        trip_id=destination.trip_id,
        timestamp=weather.fetched_at,
        latitude=destination.latitude,
        longitude=destination.longitude,
        timezone=destination.timezone,
        stale=weather.stale,
        age_seconds=weather.age_s,
        temperature_celsius=now.temperature_celsius,
        weather_code=now.weather_code,
        description=description(now.weather_code),
        is_day=now.is_day,
        forecast=[_day_view(day) for day in weather.forecast],
        apparent_temp_celsius=now.apparent_temp_celsius,
        humidity_percent=now.humidity_percent,
        humidity=now.humidity_percent,
        cloud_cover_percent=now.cloud_cover_percent,
        wind_direction_deg=now.wind_direction_deg,
        precipitation_mm=now.precipitation_mm,
        rain_mm=now.rain_mm,
        showers_mm=now.showers_mm,
        snowfall_cm=now.snowfall_cm,
        pressure_msl_hpa=now.pressure_msl_hpa,
        surface_pressure_hpa=now.surface_pressure_hpa,
        wind_speed_ms=now.wind_speed_ms,
        wind_speed=now.wind_speed_ms,
        wind_gusts_ms=now.wind_gusts_ms,
    )


def _day_view(day: ForecastDay) -> ForecastDayView:
    return ForecastDayView(
        date=day.day,
        weather_code=day.weather_code,
        description=None if day.weather_code is None else description(day.weather_code),
        temperature_max_celsius=day.temperature_max_celsius,
        temperature_min_celsius=day.temperature_min_celsius,
        precipitation_mm=day.precipitation_mm,
        precipitation_probability_percent=day.precipitation_probability_percent,
        wind_speed_max_ms=day.wind_speed_max_ms,
        sunrise=day.sunrise,
        sunset=day.sunset,
    )
