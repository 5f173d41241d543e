"""`ApiKeys` over every driver."""

import asyncio
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from nomadcrew.adapters.postgres.api_keys import PostgresApiKeys
from nomadcrew.core.api_keys.model import MAX_KEYS, ApiKey, ApiKeyExists, ApiKeyNotFound, NewApiKey, TooManyApiKeys
from nomadcrew.core.api_keys.texts import hash_of, new_key_text
from nomadcrew.core.claims import KeyScope
from nomadcrew.core.errors import NotOnboarded, NotTripMember
from nomadcrew.core.ids import ApiKeyId, TripId, UserId, uuid7
from tests.contract.trip_database import TripDb
from tests.fakes import NOON

DAY = timedelta(days=1)


@pytest.fixture
def api_keys(db: TripDb) -> PostgresApiKeys:
    return PostgresApiKeys(db.pool)


def a_key(name: str = "script", *, trips: tuple[TripId, ...] | None = None, writes: bool = False) -> NewApiKey:
    key_hash = hash_of(new_key_text())
    assert key_hash is not None
    return NewApiKey(ApiKeyId(uuid7()), key_hash, name, writes, trips, NOON + DAY)


async def listed(api_keys: PostgresApiKeys, user: UserId) -> list[ApiKey]:
    return list(await api_keys.of(user))


async def test_a_key_is_found_by_its_hash_until_it_expires(db: TripDb, api_keys: PostgresApiKeys) -> None:
    ana = await db.user("ana")
    trips = (await db.trip(ana), await db.trip(ana))
    for key in (a_key("all", writes=True), a_key("some", trips=trips)):
        await api_keys.add(ana, key, now=NOON)
        found = await api_keys.find(key.hash, now=NOON)
        assert found is not None
        assert (found.claims.user_id, found.claims.expires_at, found.last_used_at) == (ana, NOON + DAY, None)
        assert found.claims.key == KeyScope(key.id, key.writes, None if key.trips is None else frozenset(key.trips))
        assert await api_keys.find(key.hash, now=NOON + DAY) is None
    assert await api_keys.find(b"?" * 32, now=NOON) is None


async def test_keys_are_listed_to_their_user_newest_first(db: TripDb, api_keys: PostgresApiKeys) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    assert await listed(api_keys, ana) == []
    first, second = a_key("first", trips=(await db.trip(ana),)), a_key("second", writes=True)
    await api_keys.add(ana, first, now=NOON)
    await api_keys.add(ana, second, now=NOON + timedelta(seconds=1))
    assert await listed(api_keys, ana) == [
        ApiKey(second.id, "second", True, None, NOON + timedelta(seconds=1), NOON + DAY),
        ApiKey(first.id, "first", False, first.trips, NOON, NOON + DAY),
    ]
    assert await listed(api_keys, ben) == []


async def test_a_user_without_a_profile_has_no_keys(db: TripDb, api_keys: PostgresApiKeys) -> None:
    for attempt in (api_keys.add(UserId(uuid7()), a_key(), now=NOON), api_keys.of(UserId(uuid7()))):
        with pytest.raises(NotOnboarded):
            await attempt


async def test_a_key_is_for_trips_of_its_user_only(db: TripDb, api_keys: PostgresApiKeys) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    own, foreign = await db.trip(ana), await db.trip(ben)
    for trips in ((own, foreign), (TripId(uuid7()),)):
        with pytest.raises(NotTripMember):
            await api_keys.add(ana, a_key(trips=trips), now=NOON)
    assert await listed(api_keys, ana) == []


async def test_a_name_is_one_key_of_a_user(db: TripDb, api_keys: PostgresApiKeys) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    results = await asyncio.gather(
        *(api_keys.add(ana, a_key(), now=NOON) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["ApiKeyExists"] * 3 + ["NoneType"]
    with pytest.raises(ApiKeyExists):
        await api_keys.add(ana, a_key(), now=NOON)
    await api_keys.add(ben, a_key(), now=NOON)


async def test_concurrent_requests_do_not_exceed_the_number_of_keys(db: TripDb, api_keys: PostgresApiKeys) -> None:
    ana = await db.user("ana")
    for number in range(MAX_KEYS - 1):
        await api_keys.add(ana, a_key(f"{number}"), now=NOON)
    results = await asyncio.gather(
        *(api_keys.add(ana, a_key(f"new {number}"), now=NOON) for number in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results if result is not None] == [TooManyApiKeys] * 2
    assert len(await listed(api_keys, ana)) == MAX_KEYS


async def test_a_key_is_deleted_by_its_user_only(db: TripDb, api_keys: PostgresApiKeys) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    key = a_key()
    await api_keys.add(ana, key, now=NOON)
    with pytest.raises(ApiKeyNotFound):
        await api_keys.delete(ben, key.id)
    await api_keys.delete(ana, key.id)
    assert await api_keys.find(key.hash, now=NOON) is None
    with pytest.raises(ApiKeyNotFound):
        await api_keys.delete(ana, key.id)


async def test_the_latest_use_of_a_key_stays(db: TripDb, api_keys: PostgresApiKeys) -> None:
    ana, key = await db.user("ana"), a_key()
    await api_keys.add(ana, key, now=NOON)

    async def last_use() -> datetime | None:
        found = await api_keys.find(key.hash, now=NOON)
        assert found is not None
        [same] = await listed(api_keys, ana)
        assert same == replace(same, last_used_at=found.last_used_at)
        return found.last_used_at

    for used_at, last in ((NOON, NOON), (NOON + DAY / 2, NOON + DAY / 2), (NOON, NOON + DAY / 2)):
        await api_keys.record_use(key.id, now=used_at)
        assert await last_use() == last
    await api_keys.record_use(ApiKeyId(uuid7()), now=NOON)
