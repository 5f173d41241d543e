"""`WeatherCache` and `Destinations` over every store, and several processes on one cache."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest
import pytest_asyncio
from msgspec.structs import replace

from nomadcrew.adapters.aws.dynamodb.weather_cache import DynamoWeatherCache
from nomadcrew.adapters.aws.sdk.services import DYNAMODB
from nomadcrew.adapters.postgres.retention import PostgresRetention
from nomadcrew.adapters.postgres.weather import PostgresDestinations, PostgresWeatherCache
from nomadcrew.core.access import Access
from nomadcrew.core.errors import Forbidden, NotFound, NotTripMember
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.permissions import MEMBER, OWNER
from nomadcrew.core.trips.model import Status
from nomadcrew.core.weather.model import FRESH_FOR, SHOWN_FOR, Area, Conditions, Destination, ForecastDay, Weather
from nomadcrew.core.weather.ports import Claim, WeatherCache
from nomadcrew.core.weather.shared import CLAIMED_FOR, SharedWeather
from tests.contract.cloud import Cloud
from tests.contract.conftest import sql_over
from tests.contract.trip_database import TripDb
from tests.fakes import NOON, FixedWeather
from tests.postgres import Postgres

PORTO, BRAGA = Area(4115, -861, "Europe/Lisbon"), Area(4155, -843, "Europe/Lisbon")
SECOND = timedelta(seconds=1)
DAYS = [ForecastDay(date(2026, 7, 1), sunrise=NOON, temperature_max_celsius=24.5), ForecastDay(date(2026, 7, 2))]
SUNNY = Weather(NOON, Conditions(21.5, 0, True, wind_speed_ms=3.2), DAYS)


@pytest_asyncio.fixture(loop_scope="session", params=["postgresql", "data-api", "dynamodb"])
async def cache(request: pytest.FixtureRequest, postgres: Postgres, template: str) -> AsyncIterator[WeatherCache]:
    if request.param == "dynamodb":
        cloud: Cloud = request.getfixturevalue("cloud")
        yield DynamoWeatherCache(cloud.client(DYNAMODB), await cloud.table("area"))
    else:
        async with sql_over(request.param, request, postgres, template) as sql:
            yield PostgresWeatherCache(sql)


async def test_one_process_claims_an_area_and_the_others_wait(cache: WeatherCache) -> None:
    claims = await asyncio.gather(*(cache.claim(PORTO, now=NOON, until=NOON + CLAIMED_FOR) for _ in range(5)))
    assert sorted(claim.mine for claim in claims) == [False] * 4 + [True]
    assert {claim.waiting for claim in claims if not claim.mine} == {True}
    assert {claim.weather for claim in claims} == {None}
    assert await cache.get(PORTO, now=NOON) == Claim(mine=False, waiting=True, weather=None)
    assert (await cache.claim(BRAGA, now=NOON, until=NOON + CLAIMED_FOR)).mine


async def test_a_claim_of_a_process_that_died_ends(cache: WeatherCache) -> None:
    assert (await cache.claim(PORTO, now=NOON, until=NOON + CLAIMED_FOR)).mine
    late = NOON + CLAIMED_FOR
    assert (await cache.get(PORTO, now=late)).waiting is False
    assert (await cache.claim(PORTO, now=late, until=late + CLAIMED_FOR)).mine


async def test_a_stored_answer_is_fresh_for_15_minutes(cache: WeatherCache) -> None:
    await cache.claim(PORTO, now=NOON, until=NOON + CLAIMED_FOR)
    await cache.store(PORTO, SUNNY)
    fresh = Claim(mine=False, waiting=False, weather=SUNNY)
    for later in (timedelta(0), FRESH_FOR - SECOND):
        assert await cache.claim(PORTO, now=NOON + later, until=NOON + later + CLAIMED_FOR) == fresh
    assert await cache.get(PORTO, now=NOON + FRESH_FOR) == fresh
    old = NOON + FRESH_FOR
    assert await cache.claim(PORTO, now=old, until=old + CLAIMED_FOR) == replace(fresh, mine=True)
    assert await cache.claim(PORTO, now=old, until=old + CLAIMED_FOR) == replace(fresh, waiting=True)


async def test_a_postponed_area_is_claimed_later_and_keeps_its_answer(cache: WeatherCache) -> None:
    await cache.store(PORTO, SUNNY)
    old = NOON + FRESH_FOR
    assert (await cache.claim(PORTO, now=old, until=old + CLAIMED_FOR)).mine
    await cache.postpone(PORTO, until=old + 60 * SECOND)
    soon, later = old + 59 * SECOND, old + 60 * SECOND
    assert await cache.claim(PORTO, now=soon, until=soon + CLAIMED_FOR) == Claim(False, True, SUNNY)
    assert await cache.claim(PORTO, now=later, until=later + CLAIMED_FOR) == Claim(True, False, SUNNY)


async def test_processes_ask_the_source_once_for_an_area(cache: WeatherCache) -> None:
    source = FixedWeather()
    source.released.clear()
    processes = [SharedWeather(source, cache) for _ in range(3)]
    answers = [asyncio.ensure_future(one.get(PORTO, now=NOON)) for one in processes for _ in range(4)]
    async with asyncio.timeout(10):
        await source.asked.wait()
        source.released.set()
        found = await asyncio.gather(*answers)
    assert source.areas == [PORTO]
    assert {weather.fetched_at for weather in found} == {NOON}


async def test_old_weather_is_deleted(db: TripDb) -> None:
    cache = PostgresWeatherCache(db.pool)
    await cache.store(PORTO, SUNNY)
    await cache.store(BRAGA, replace(SUNNY, fetched_at=NOON + SECOND))
    assert await PostgresRetention(db.pool).delete_weather(NOON + SHOWN_FOR + SECOND) == 1
    assert (await cache.get(PORTO, now=NOON)).weather is None
    assert (await cache.get(BRAGA, now=NOON)).weather is not None


async def test_an_answer_in_another_form_counts_as_none(db: TripDb) -> None:
    cache = PostgresWeatherCache(db.pool)
    await cache.store(PORTO, SUNNY)
    await db.run("UPDATE weather_cache SET body = '{\"conditions\":1}'")
    assert (await cache.get(PORTO, now=NOON)).weather is None


async def test_the_destinations_of_active_trips_are_read_once_and_in_pages(db: TripDb) -> None:
    ana, ben, cleo = [await db.user(name) for name in ("ana", "ben", "cleo")]
    shared = await db.trip(ana, status=Status.ACTIVE)
    await db.join(shared, ben, ana)
    own = await db.trip(ben, status=Status.ACTIVE, name="Braga", destination_latitude=0.0)
    await db.trip(ana, name="planned")
    await db.trip(ana, name="nowhere", status=Status.ACTIVE, destination_latitude=0.0, destination_longitude=0.0)
    await db.trip(cleo, status=Status.ACTIVE)
    left = await db.trip(ana, name="left", status=Status.ACTIVE)
    await db.join(left, ben, ana)
    await db.leave(left, ben, ben)
    destinations = PostgresDestinations(db.pool)

    async def pages(*users: UserId, limit: int) -> list[list[TripId]]:
        found, after = [], None
        while page := await destinations.of_active_trips(users, after=after, limit=limit):
            found.append([each.trip_id for each in page])
            after = page[-1].trip_id
        return found

    assert await pages(ana, ben, limit=10) == [[shared, own, left]]
    assert await pages(ana, ben, limit=2) == [[shared, own], [left]]
    assert await pages(ben, limit=10) == [[shared, own]]
    assert await pages(limit=10) == []


async def test_a_destination_is_read_by_members_only(db: TripDb) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    destinations = PostgresDestinations(db.pool)
    assert await destinations.get(Access(trip, ana, MEMBER)) == Destination(
        trip, 41.15, -8.61, "Europe/Lisbon", date(2026, 12, 1), date(2026, 12, 9)
    )
    with pytest.raises(NotTripMember):
        await destinations.get(Access(trip, ben, MEMBER))
    await db.join(trip, ben, ana)
    with pytest.raises(Forbidden):
        await destinations.get(Access(trip, ben, OWNER))
    await db.run("UPDATE trips SET deleted_at = now() WHERE id = :id::uuid", id=trip)
    with pytest.raises(NotFound):
        await destinations.get(Access(trip, ana, MEMBER))
