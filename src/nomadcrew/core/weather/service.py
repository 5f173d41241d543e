"""The weather of a trip."""

from datetime import datetime

from nomadcrew.core.access import Access
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.permissions import rule
from nomadcrew.core.timezones import local_day
from nomadcrew.core.weather.model import Destination, NoDestination, TripWeather
from nomadcrew.core.weather.ports import Destinations, WeatherOf


async def get_weather(
    trip_id: TripId, caller: UserId, *, destinations: Destinations, weather_of: WeatherOf, now: datetime
) -> TripWeather:
    """The weather at the trip's destination, and the forecast for the trip's days.

    Raises:
        NoDestination: the trip has no destination.
        WeatherUnavailable: the source fails, and there is no answer of the last 24 hours.
        DomainError: as `Destinations.get` says.
    """
    destination = await destinations.get(Access(trip_id, caller, rule("trip", "read")))
    return await weather_at(destination, weather_of=weather_of, now=now)


async def weather_at(destination: Destination, *, weather_of: WeatherOf, now: datetime) -> TripWeather:
    """The weather at a destination; raises as `get_weather` does."""
    if not destination.is_set:
        raise NoDestination
    weather = await weather_of.get(destination.area, now=now)
    first = max(destination.start_date, local_day(now, destination.timezone))
    return TripWeather(
        destination=destination,
        conditions=weather.conditions,
        fetched_at=weather.fetched_at,
        age_s=max(0, int((now - weather.fetched_at).total_seconds())),
        stale=not weather.is_fresh(now),
        forecast=[day for day in weather.days if first <= day.day <= destination.end_date],
    )
