"""Broadcasts the weather to the sockets of active trips."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime

from nomadcrew.core.events import Audience, Event
from nomadcrew.core.ids import EventId, NewId, TripId, UserId
from nomadcrew.core.realtime import Broadcaster, ConnectedUsers
from nomadcrew.core.weather.model import Destination, TripWeather, WeatherUnavailable, description
from nomadcrew.core.weather.ports import Destinations, WeatherOf
from nomadcrew.core.weather.service import weather_at

UPDATED = "WEATHER_UPDATED"
SOURCE = "weather-service"
USERS_AT_ONCE = 500
TRIPS_AT_ONCE = 200
REQUESTS_AT_ONCE = 8


async def broadcast_weather(
    *,
    connected: ConnectedUsers,
    destinations: Destinations,
    weather_of: WeatherOf,
    broadcaster: Broadcaster,
    new_id: NewId,
    now: datetime,
) -> int:
    """Broadcast the weather to each active trip with a connected member; returns the number of trips.

    A trip is left out if the source fails for it: an old answer is no news.
    """
    users = sorted(await connected.connected_users(now=now))
    told: set[TripId] = set()
    for first in range(0, len(users), USERS_AT_ONCE):
        for destination, weather in await _weather_for(
            users[first : first + USERS_AT_ONCE], told, destinations=destinations, weather_of=weather_of, now=now
        ):
            told.add(destination.trip_id)
            await broadcaster.broadcast(_event(weather, EventId(new_id()), now))
    return len(told)


async def _weather_for(
    users: Sequence[UserId],
    told: set[TripId],
    *,
    destinations: Destinations,
    weather_of: WeatherOf,
    now: datetime,
) -> Sequence[tuple[Destination, TripWeather]]:
    """The fresh weather of these users' trips that were not told of it yet."""
    limit = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def fresh(destination: Destination) -> tuple[Destination, TripWeather] | None:
        try:
            async with limit:
                weather = await weather_at(destination, weather_of=weather_of, now=now)
        except WeatherUnavailable:
            return None
        return None if weather.stale else (destination, weather)

    found: list[tuple[Destination, TripWeather]] = []
    after: TripId | None = None
    while page := await destinations.of_active_trips(users, after=after, limit=TRIPS_AT_ONCE):
        after = page[-1].trip_id
        answers = await asyncio.gather(*(fresh(each) for each in page if each.trip_id not in told))
        found += [answer for answer in answers if answer is not None]
    return found


def _event(weather: TripWeather, event_id: EventId, now: datetime) -> Event:
    """The event in the form that the client reads; values that the source does not have are left out."""
    conditions, trip_id = weather.conditions, weather.destination.trip_id
    payload = {
        "tripId": str(trip_id),
        "temperatureCelsius": conditions.temperature_celsius,
        "weatherCode": conditions.weather_code,
        "timestamp": f"{weather.fetched_at:%Y-%m-%dT%H:%M:%SZ}",
        "description": description(conditions.weather_code),
        "humidity": conditions.humidity_percent,
        "windSpeed": conditions.wind_speed_ms,
    }
    known = {name: value for name, value in payload.items() if value is not None}
    return Event(event_id, UPDATED, SOURCE, trip_id, None, None, Audience.TRIP, now, json.dumps(known), kept=False)
