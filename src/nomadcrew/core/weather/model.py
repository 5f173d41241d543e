"""The weather at a destination: now, and on the days of a trip."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from msgspec import Struct

from nomadcrew.core.errors import Forbidden, Unavailable
from nomadcrew.core.ids import TripId

FRESH_FOR = timedelta(minutes=15)
# Beyond this age an answer is no longer shown, also if the source fails.
SHOWN_FOR = timedelta(hours=24)
MAX_DAYS = 16
# The client handles these codes of the WMO; the texts are ours.
_DESCRIPTIONS = {
    0: "Clear sky", 1: "Mainly clear", 2: "Partly cloudy", 3: "Overcast", 45: "Fog", 48: "Freezing fog",
    51: "Light drizzle", 53: "Drizzle", 55: "Heavy drizzle", 56: "Light freezing drizzle", 57: "Freezing drizzle",
    61: "Light rain", 63: "Rain", 65: "Heavy rain", 66: "Light freezing rain", 67: "Freezing rain",
    71: "Light snow", 73: "Snow", 75: "Heavy snow", 77: "Snow grains",
    80: "Light rain showers", 81: "Rain showers", 82: "Violent rain showers",
    85: "Light snow showers", 86: "Heavy snow showers",
    95: "Thunderstorm", 96: "Thunderstorm with hail", 99: "Thunderstorm with heavy hail",
}  # fmt: skip


class Destination(Struct, frozen=True):
    """The part of a trip that decides its weather. Coordinates are WGS-84 decimal degrees."""

    trip_id: TripId
    latitude: float
    longitude: float
    timezone: str
    start_date: date
    end_date: date

    @property
    def is_set(self) -> bool:
        """False if both coordinates are zero, as clients send them for a trip without a destination."""
        return bool(self.latitude or self.longitude)

    @property
    def area(self) -> "Area":
        return Area(_hundredths(self.latitude), _hundredths(self.longitude), self.timezone)


class Area(Struct, frozen=True):
    """About a square kilometre, whose weather is asked for once: coordinates in hundredths of a degree."""

    latitude_hundredths: int
    longitude_hundredths: int
    timezone: str

    @property
    def latitude(self) -> float:
        return self.latitude_hundredths / 100

    @property
    def longitude(self) -> float:
        return self.longitude_hundredths / 100

    @property
    def key(self) -> str:
        """The key of the area in a cache, such as `4115 -861 Europe/Lisbon`."""
        return f"{self.latitude_hundredths} {self.longitude_hundredths} {self.timezone}"


class Conditions(Struct, frozen=True):
    """The weather now. None: the source has no value."""

    temperature_celsius: float
    weather_code: int
    is_day: bool
    apparent_temp_celsius: float | None = None
    humidity_percent: int | None = None
    cloud_cover_percent: int | None = None
    wind_direction_deg: int | None = None
    precipitation_mm: float | None = None
    rain_mm: float | None = None
    showers_mm: float | None = None
    snowfall_cm: float | None = None
    pressure_msl_hpa: float | None = None
    surface_pressure_hpa: float | None = None
    wind_speed_ms: float | None = None
    wind_gusts_ms: float | None = None


class ForecastDay(Struct, frozen=True):
    """A day at the destination. None: the source has no value, and near the poles the sun may not rise or set."""

    day: date
    weather_code: int | None = None
    temperature_max_celsius: float | None = None
    temperature_min_celsius: float | None = None
    precipitation_mm: float | None = None
    precipitation_probability_percent: int | None = None
    wind_speed_max_ms: float | None = None
    sunrise: datetime | None = None
    sunset: datetime | None = None


class Weather(Struct, frozen=True):
    """An answer of the source: the conditions at `fetched_at`, and the days from that day on."""

    fetched_at: datetime
    conditions: Conditions
    days: Sequence[ForecastDay]

    def is_fresh(self, now: datetime) -> bool:
        return now - self.fetched_at < FRESH_FOR

    def is_shown(self, now: datetime) -> bool:
        return now - self.fetched_at < SHOWN_FOR


class TripWeather(Struct, frozen=True):
    """The weather of a trip. `forecast` has those of its days that the source knows; `stale` is an old answer."""

    destination: Destination
    conditions: Conditions
    fetched_at: datetime
    age_s: int
    stale: bool
    forecast: Sequence[ForecastDay]


class NoDestination(Forbidden):
    code = "no_destination"
    text = "The trip has no destination. Set its coordinates to see the weather."


class WeatherUnavailable(Unavailable):
    code = "weather_unavailable"
    text = "The weather service does not answer. Try again in a few minutes."
    retry_after_s = 60


class WeatherOff(WeatherUnavailable):
    code = "weather_off"
    text = "This server has no weather service. Its operator can set one."
    retry_after_s = 3600


def description(weather_code: int) -> str:
    """The text of a WMO code."""
    return _DESCRIPTIONS.get(weather_code, "Unknown weather")


def _hundredths(degrees: float) -> int:
    return round(degrees * 100)
