"""Ports of the weather."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from nomadcrew.core.access import Access
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.weather.model import Area, Destination, Weather


class Destinations(Protocol):
    async def get(self, access: Access) -> Destination:
        """The destination of a trip.

        Raises:
            NotOnboarded, NotTripMember, NotFound, Forbidden: as `Trips` says.
        """
        ...

    async def of_active_trips(
        self, user_ids: Sequence[UserId], *, after: TripId | None, limit: int
    ) -> Sequence[Destination]:
        """The destinations of these users' ACTIVE trips above `after`, by id; trips without one are left out."""
        ...


class WeatherSource(Protocol):
    async def fetch(self, area: Area, *, now: datetime) -> Weather:
        """The weather of an area now, and on the next 16 days in its time zone. Answers within three seconds.

        Raises:
            WeatherUnavailable: no usable answer in time, or too many failures before.
        """
        ...


class Claim(Struct, frozen=True):
    """The state of an area in the cache. If it is `mine`, the caller has to ask the source, and all others wait."""

    mine: bool
    waiting: bool
    weather: Weather | None


class WeatherCache(Protocol):
    """The last answer of each area, shared by all processes. Every method raises `Unavailable` in an outage."""

    async def claim(self, area: Area, *, now: datetime, until: datetime) -> Claim:
        """The last answer; if it is not fresh and no other process has claimed the area, a claim until `until`."""
        ...

    async def get(self, area: Area, *, now: datetime) -> Claim:
        """The last answer, and whether a process that claimed the area still asks the source."""
        ...

    async def store(self, area: Area, weather: Weather) -> None:
        """Replace the answer and end the claim."""
        ...

    async def postpone(self, area: Area, *, until: datetime) -> None:
        """End the claim after a failure; the area can be claimed again at `until`."""
        ...


class WeatherOf(Protocol):
    """The weather of areas, for the routes."""

    async def get(self, area: Area, *, now: datetime) -> Weather:
        """The weather of an area: fresh, or the last answer if the source fails.

        Raises:
            WeatherUnavailable: the source fails, and there is no answer of the last 24 hours.
            WeatherOff: there is no source.
        """
        ...
