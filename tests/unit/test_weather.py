"""The weather of trips: the shared answers, outages, and the forecast of a trip's days."""

import asyncio
import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import cast
from uuid import UUID

import pytest
from msgspec.structs import replace

from nomadcrew.adapters.noop import NoWeather
from nomadcrew.core.access import Access
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Event
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.weather import shared
from nomadcrew.core.weather.model import (
    FRESH_FOR,
    SHOWN_FOR,
    Area,
    Destination,
    NoDestination,
    TripWeather,
    Weather,
    WeatherOff,
    WeatherUnavailable,
    description,
)
from nomadcrew.core.weather.ports import Claim, WeatherCache
from nomadcrew.core.weather.service import get_weather
from nomadcrew.core.weather.shared import CLAIMED_FOR, MAX_POLLS, PAUSED_FOR, SharedWeather
from nomadcrew.core.weather.updates import TRIPS_AT_ONCE, USERS_AT_ONCE, broadcast_weather
from tests.fakes import ANA, NOON, CountingIds, FixedWeather, RecordingBroadcaster

PORTO = Area(4115, -861, "Europe/Lisbon")
TRIP = TripId(UUID(int=1))
SECOND = timedelta(seconds=1)


class MemoryCache:
    """`WeatherCache` in a dict; unreachable while `away`."""

    def __init__(self) -> None:
        self.weather: dict[Area, Weather] = {}
        self.claimed_until: dict[Area, datetime] = {}
        self.away = False

    async def claim(self, area: Area, *, now: datetime, until: datetime) -> Claim:
        found = await self.get(area, now=now)
        if found.waiting or (found.weather is not None and found.weather.is_fresh(now)):
            return found
        self.claimed_until[area] = until
        return replace(found, mine=True)

    async def get(self, area: Area, *, now: datetime) -> Claim:
        self._reach()
        return Claim(False, self.claimed_until.get(area, now) > now, self.weather.get(area))

    async def store(self, area: Area, weather: Weather) -> None:
        self._reach()
        self.weather[area] = weather
        self.claimed_until[area] = weather.fetched_at

    async def postpone(self, area: Area, *, until: datetime) -> None:
        self._reach()
        self.claimed_until[area] = until

    def _reach(self) -> None:
        if self.away:
            raise Unavailable


class Site:
    """Processes with one source and one cache. Instead of waiting, `while_waiting` runs."""

    def __init__(self) -> None:
        self.source, self.cache = FixedWeather(), MemoryCache()
        self.waits = 0

    def process(self) -> SharedWeather:
        return SharedWeather(self.source, cast(WeatherCache, self.cache), sleep=self._sleep)

    async def _sleep(self, _seconds: float) -> None:
        self.waits += 1
        await self.while_waiting()

    async def while_waiting(self) -> None:
        return None


@pytest.fixture
def site() -> Site:
    return Site()


async def test_an_answer_is_shared_for_15_minutes(site: Site) -> None:
    first, second = site.process(), site.process()
    for process in (first, second, first):
        assert (await process.get(PORTO, now=NOON + FRESH_FOR - SECOND)).fetched_at == NOON + FRESH_FOR - SECOND
    assert site.source.areas == [PORTO]
    later = NOON + 2 * FRESH_FOR
    assert (await second.get(PORTO, now=later)).fetched_at == later
    assert len(site.source.areas) == 2


async def test_a_process_asks_once_at_a_time_also_if_a_client_disconnects(site: Site) -> None:
    site.source.released.clear()
    process = site.process()
    requests = [asyncio.create_task(process.get(PORTO, now=NOON)) for _ in range(5)]
    await site.source.asked.wait()
    requests[0].cancel()
    site.source.released.set()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {cast(Weather, answer).fetched_at for answer in answers[1:]} == {NOON}
    assert len(site.source.areas) == 1


async def test_a_cancelled_request_to_the_source_is_forgotten(site: Site) -> None:
    site.source.released.clear()
    process = site.process()
    asked = asyncio.create_task(process.get(PORTO, now=NOON))
    await site.source.asked.wait()
    for request in list(process._requests.values()):
        request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    site.source.released.set()
    later = NOON + CLAIMED_FOR
    assert (await process.get(PORTO, now=later)).fetched_at == later


async def test_the_last_answer_is_returned_while_the_source_fails(site: Site) -> None:
    await site.process().get(PORTO, now=NOON)
    site.source.failing = True
    late = NOON + timedelta(hours=3)
    assert (await site.process().get(PORTO, now=late)).fetched_at == NOON
    # For a minute all processes return it at once.
    assert (await site.process().get(PORTO, now=late + PAUSED_FOR - SECOND)).fetched_at == NOON
    assert len(site.source.areas) == 2
    assert (await site.process().get(PORTO, now=late + PAUSED_FOR)).fetched_at == NOON
    assert len(site.source.areas) == 3


async def test_an_answer_of_yesterday_is_not_shown(site: Site) -> None:
    await site.process().get(PORTO, now=NOON)
    site.source.failing = True
    with pytest.raises(WeatherUnavailable):
        await site.process().get(PORTO, now=NOON + SHOWN_FOR)


async def test_the_next_request_asks_again_if_there_is_no_answer(site: Site) -> None:
    site.source.failing = True
    process = site.process()
    for _ in range(2):
        with pytest.raises(WeatherUnavailable):
            await process.get(PORTO, now=NOON)
    assert len(site.source.areas) == 2
    site.source.failing = False
    assert (await process.get(PORTO, now=NOON)).fetched_at == NOON


async def test_a_process_waits_for_the_answer_to_another_one(site: Site) -> None:
    await site.cache.claim(PORTO, now=NOON, until=NOON + CLAIMED_FOR)
    answer = await site.source.fetch(PORTO, now=NOON)

    async def answered() -> None:
        if site.waits == 3:
            await site.cache.store(PORTO, answer)

    site.while_waiting = answered  # type: ignore[method-assign]
    assert await site.process().get(PORTO, now=NOON) == answer
    assert (site.waits, len(site.source.areas)) == (3, 1)


async def test_a_process_gives_up_when_the_other_one_fails(site: Site) -> None:
    await site.cache.claim(PORTO, now=NOON, until=NOON + CLAIMED_FOR)

    async def failed() -> None:
        await site.cache.postpone(PORTO, until=NOON)

    site.while_waiting = failed  # type: ignore[method-assign]
    with pytest.raises(WeatherUnavailable):
        await site.process().get(PORTO, now=NOON)
    assert (site.waits, site.source.areas) == (1, [])


async def test_a_process_does_not_wait_forever(site: Site) -> None:
    await site.cache.claim(PORTO, now=NOON, until=NOON + CLAIMED_FOR)
    with pytest.raises(WeatherUnavailable):
        await site.process().get(PORTO, now=NOON)
    assert site.waits == MAX_POLLS


async def test_a_process_gives_up_when_the_cache_fails_meanwhile(site: Site) -> None:
    await site.cache.claim(PORTO, now=NOON, until=NOON + CLAIMED_FOR)

    async def fail() -> None:
        site.cache.away = True

    site.while_waiting = fail  # type: ignore[method-assign]
    with pytest.raises(WeatherUnavailable):
        await site.process().get(PORTO, now=NOON)


async def test_without_the_cache_each_process_asks_the_source_itself(site: Site) -> None:
    site.cache.away = True
    process = site.process()
    assert (await process.get(PORTO, now=NOON)).fetched_at == NOON
    site.source.failing = True
    late = NOON + FRESH_FOR
    assert (await process.get(PORTO, now=late)).fetched_at == NOON
    with pytest.raises(WeatherUnavailable):
        await site.process().get(PORTO, now=late)


async def test_a_process_remembers_a_bounded_number_of_areas(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "MAX_AREAS", 2)
    process = site.process()
    for hundredths in (1, 2, 3):
        await process.get(Area(hundredths, 0, "UTC"), now=NOON)
    site.cache.away = True
    await process.get(Area(2, 0, "UTC"), now=NOON)
    assert len(site.source.areas) == 3
    await process.get(Area(1, 0, "UTC"), now=NOON)
    assert len(site.source.areas) == 4


class OneDestination:
    """`Destinations` with one destination for all."""

    def __init__(self, **fields: object) -> None:
        porto = Destination(TRIP, 41.149, -8.611, "Europe/Lisbon", date(2026, 6, 28), date(2026, 7, 5))
        self.destination = replace(porto, **fields)
        self.asked: list[Access] = []

    async def get(self, access: Access) -> Destination:
        self.asked.append(access)
        return self.destination

    async def of_active_trips(
        self, user_ids: Sequence[UserId], *, after: TripId | None, limit: int
    ) -> Sequence[Destination]:
        raise AssertionError


async def weather_of(site: Site, now: datetime = NOON, **fields: object) -> TripWeather:
    return await get_weather(TRIP, ANA, destinations=OneDestination(**fields), weather_of=site.process(), now=now)


async def test_trips_within_a_kilometre_share_an_answer(site: Site) -> None:
    await weather_of(site)
    await weather_of(site, latitude=41.1549, longitude=-8.6051)
    assert site.source.areas == [PORTO]
    assert (PORTO.latitude, PORTO.longitude, PORTO.key) == (41.15, -8.61, "4115 -861 Europe/Lisbon")


async def test_a_trip_shows_the_days_that_are_left_of_it(site: Site) -> None:
    found = await weather_of(site)
    assert [day.day for day in found.forecast] == [date(2026, 7, n) for n in range(1, 6)]
    assert (found.stale, found.age_s, found.fetched_at) == (False, 0, NOON)


async def test_a_trip_shows_at_most_the_next_16_days(site: Site) -> None:
    found = await weather_of(site, end_date=date(2027, 1, 1))
    assert [found.forecast[0].day, found.forecast[-1].day] == [date(2026, 7, 1), date(2026, 7, 16)]
    assert (await weather_of(site, start_date=date(2026, 7, 17), end_date=date(2026, 7, 20))).forecast == []


@pytest.mark.parametrize(
    ("timezone", "first"),
    [
        ("Pacific/Kiritimati", date(2026, 7, 2)),
        ("Asia/Kathmandu", date(2026, 7, 1)),
        ("Etc/GMT+12", date(2026, 7, 1)),
    ],
)
async def test_the_first_day_is_today_at_the_destination(site: Site, timezone: str, first: date) -> None:
    assert (await weather_of(site, timezone=timezone)).forecast[0].day == first


async def test_a_stale_answer_has_its_age_and_no_days_of_the_past(site: Site) -> None:
    await weather_of(site)
    site.source.failing = True
    found = await weather_of(site, now=NOON + timedelta(hours=12, seconds=1))
    assert (found.stale, found.age_s) == (True, 12 * 3600 + 1)
    assert found.forecast[0].day == date(2026, 7, 2)


async def test_a_trip_without_coordinates_has_no_weather(site: Site) -> None:
    with pytest.raises(NoDestination) as refused:
        await weather_of(site, latitude=0.0, longitude=0.0)
    assert refused.value.code == "no_destination"
    assert (await weather_of(site, latitude=0.0)).conditions.weather_code == 61


async def test_a_server_without_a_source_says_so() -> None:
    with pytest.raises(WeatherOff) as refused:
        await NoWeather().get(PORTO, now=NOON)
    assert refused.value.code == "weather_off"


@pytest.mark.contract("rest-core.weather.texts", "jobs.weather-reply.codes")
@pytest.mark.parametrize("code", [0, 1, 2, 3, 45, 48, 51, 53, 55, 56, 57, 61, 63, 65, 66, 67, 71, 73, 75, 77, 80,
                                  81, 82, 85, 86, 95, 96, 99])  # fmt: skip
def test_every_code_that_clients_know_has_a_text(code: int) -> None:
    assert description(code) != description(-1) == "Unknown weather"


class Crowd:
    """`ConnectedUsers` and `Destinations`: each user is on the same `shared` trips and on one of their own."""

    def __init__(self, users: int, shared: int = 0) -> None:
        self.users = [UserId(UUID(int=n)) for n in range(1, users + 1)]
        self.shared = shared

    async def connected_users(self, *, now: datetime) -> list[UserId]:
        return self.users[::-1]

    async def of_active_trips(
        self, user_ids: Sequence[UserId], *, after: TripId | None, limit: int
    ) -> Sequence[Destination]:
        numbers = {1_000_000 + user_id.int for user_id in user_ids} | {*range(1, self.shared + 1)}
        above = sorted(number for number in numbers if after is None or number > after.int)
        porto = OneDestination().destination
        return [replace(porto, trip_id=TripId(UUID(int=number))) for number in above[:limit]]

    async def get(self, access: Access) -> Destination:
        raise AssertionError


async def broadcast(site: Site, crowd: Crowd, now: datetime = NOON) -> tuple[int, list[Event]]:
    broadcaster = RecordingBroadcaster()
    count = await broadcast_weather(
        connected=crowd, destinations=crowd, weather_of=site.process(), broadcaster=broadcaster,
        new_id=CountingIds(), now=now,
    )  # fmt: skip
    return count, broadcaster.events


async def test_each_active_trip_of_connected_users_gets_the_weather_once(site: Site) -> None:
    count, events = await broadcast(site, Crowd(users=USERS_AT_ONCE + 1, shared=TRIPS_AT_ONCE + 1))
    assert count == len(events) == len({event.trip_id for event in events}) == USERS_AT_ONCE + TRIPS_AT_ONCE + 2
    assert len(site.source.areas) == 1
    assert {(event.type, event.kept, event.audience) for event in events} == {("WEATHER_UPDATED", False, "trip")}


async def test_without_connected_users_nothing_is_asked(site: Site) -> None:
    assert await broadcast(site, Crowd(users=0, shared=3)) == (0, [])
    assert site.source.areas == []


async def test_old_weather_is_not_broadcast(site: Site) -> None:
    site.source.failing = True
    assert await broadcast(site, Crowd(users=1)) == (0, [])
    site.source.failing = False
    await site.process().get(PORTO, now=NOON)
    site.source.failing = True
    assert await broadcast(site, Crowd(users=1), now=NOON + timedelta(hours=1)) == (0, [])


async def test_a_broadcast_leaves_out_what_the_source_does_not_know(site: Site) -> None:
    [event] = (await broadcast(site, Crowd(users=1)))[1]
    assert json.loads(event.payload).keys() == {
        "tripId", "temperatureCelsius", "weatherCode", "timestamp", "description", "humidity", "windSpeed",
    }  # fmt: skip
    site.source.known = False
    [event] = (await broadcast(site, Crowd(users=1), now=NOON + timedelta(hours=1)))[1]
    assert not {"humidity", "windSpeed"} & json.loads(event.payload).keys()
