"""The weather of areas with one request to the source per area at a time, over all processes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.weather.model import Area, Weather, WeatherUnavailable
from nomadcrew.core.weather.ports import Claim, WeatherCache, WeatherSource

# Longer than the source may take, so that a process that died does not block the area for long.
CLAIMED_FOR = timedelta(seconds=5)
# After a failure, all callers get the last answer for this long without a wait.
PAUSED_FOR = timedelta(seconds=60)
POLL_S = 0.1
MAX_POLLS = 35
MAX_AREAS = 500


class SharedWeather:
    """`WeatherOf` from a source, with the cache of all processes and a small one of this process.

    If the shared cache fails, this process asks the source itself.
    """

    def __init__(
        self,
        source: WeatherSource,
        cache: WeatherCache,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._cache = cache
        self._sleep = sleep
        self._recent: dict[Area, Weather] = {}
        self._requests: dict[Area, asyncio.Task[Weather]] = {}

    async def get(self, area: Area, *, now: datetime) -> Weather:
        recent = self._recent.get(area)
        if recent is not None and recent.is_fresh(now):
            return recent
        request = self._requests.get(area)
        if request is None:
            request = asyncio.create_task(self._get(area, now))
            self._requests[area] = request
            request.add_done_callback(lambda done: self._finish(area, done))
        # A client that disconnects must not cancel the request for the others.
        return await asyncio.shield(request)

    def _finish(self, area: Area, request: "asyncio.Task[Weather]") -> None:
        del self._requests[area]
        if request.cancelled() or request.exception() is not None:
            return
        self._recent.pop(area, None)
        self._recent[area] = request.result()
        while len(self._recent) > MAX_AREAS:
            del self._recent[next(iter(self._recent))]

    async def _get(self, area: Area, now: datetime) -> Weather:
        try:
            claim = await self._cache.claim(area, now=now, until=now + CLAIMED_FOR)
        except Unavailable:
            claim = Claim(mine=True, waiting=False, weather=self._recent.get(area))
        if claim.mine:
            return await self._fetch(area, claim.weather, now)
        if claim.weather is not None and claim.weather.is_shown(now):
            return claim.weather
        return await self._wait(area, now)

    async def _fetch(self, area: Area, last: Weather | None, now: datetime) -> Weather:
        try:
            weather = await self._source.fetch(area, now=now)
        except WeatherUnavailable:
            is_shown = last is not None and last.is_shown(now)
            with contextlib.suppress(Unavailable):
                await self._cache.postpone(area, until=now + PAUSED_FOR if is_shown else now)
            if last is not None and is_shown:
                return last
            raise
        with contextlib.suppress(Unavailable):
            await self._cache.store(area, weather)
        return weather

    async def _wait(self, area: Area, now: datetime) -> Weather:
        """The answer to another process's request. No more requests are sent to a source that fails."""
        for _ in range(MAX_POLLS):
            await self._sleep(POLL_S)
            try:
                found = await self._cache.get(area, now=now)
            except Unavailable:
                break
            if found.weather is not None and found.weather.is_shown(now):
                return found.weather
            if not found.waiting:
                break
        raise WeatherUnavailable
