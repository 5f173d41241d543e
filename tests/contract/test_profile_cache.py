"""The cache in front of profiles: never older than a change, never missed. `test_profiles.py` is the contract."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from nomadcrew.adapters.aws.dynamodb.profile_cache import LIFETIME_S, REST_S, CachedProfiles
from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.adapters.aws.sdk.services import DYNAMODB
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.core.errors import NotFound, NotOnboarded
from nomadcrew.core.ids import UserId, uuid7
from nomadcrew.core.users.model import Profile
from nomadcrew.core.users.ports import ProfileChange
from tests.contract.aws_identity import Identity
from tests.contract.people import NOON, a_profile
from tests.fakes import SetClock

MINUTE = timedelta(minutes=1)
_RENAME = compile_statement("rename", "UPDATE user_profiles SET first_name = 'Behind' WHERE id = :id::uuid")
NOWHERE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "eu-west-1",
}


class Slow(PostgresProfiles):
    """Profiles whose next read waits, with what it has read already, until it may go on."""

    def __init__(self, sql: Database) -> None:
        super().__init__(sql)
        self.has_read = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def one(self, user_id: UserId, caller: UserId) -> Profile:
        profile = await super().get(user_id, caller)
        self.has_read.set()
        await self.may_go_on.wait()
        return profile


class Cache:
    def __init__(self, identity: Identity, sql: Database) -> None:
        self.identity = identity
        self.sql = sql
        self.clock = SetClock(NOON)
        self.stored = Slow(sql)
        self.profiles = CachedProfiles(
            self.stored, identity.aws.client(DYNAMODB), identity.profiles_table, clock=self.clock
        )

    async def ana(self) -> Profile:
        """Somebody who is in the cache."""
        return await self.read(await self.profiles.onboard(a_profile("ana")))

    async def read(self, who: Profile) -> Profile:
        return await self.profiles.get(who.id, who.id)

    async def change(self, who: Profile, now: Any, **to: str) -> Profile:
        return await self.profiles.change(who.id, ProfileChange(**to), who.id, is_admin=False, now=now)

    async def behind_its_back(self, who: Profile) -> None:
        """A change that the cache does not hear of, to tell where an answer comes from."""
        await self.sql.fetch(_RENAME, id=who.id)

    def item(self, who: Profile) -> Mapping[str, Any]:
        dynamodb = self.identity.aws.boto("dynamodb")
        found = dynamodb.get_item(
            TableName=self.identity.profiles_table, Key={"userId": {"S": str(who.id)}}, ConsistentRead=True
        )
        item: Mapping[str, Any] = found["Item"]
        return item


@pytest.fixture
def cache(identity: Identity, pool: Database) -> Cache:
    return Cache(identity, pool)


async def test_ones_own_profile_is_read_once_an_hour(cache: Cache) -> None:
    ana = await cache.ana()
    await cache.behind_its_back(ana)
    cache.clock.advance(LIFETIME_S - 1)
    assert await cache.read(ana) == ana
    assert int(cache.item(ana)["ttl"]["N"]) == int(NOON.timestamp()) + LIFETIME_S
    # Expired, and still there: DynamoDB takes days to remove it.
    cache.clock.advance(1)
    assert (await cache.read(ana)).first_name == "Behind"


async def test_others_are_never_read_from_the_cache(cache: Cache) -> None:
    """SQL says whether somebody may look at all."""
    ana, ben = await cache.ana(), await cache.profiles.onboard(a_profile("ben"))
    await cache.behind_its_back(ana)
    assert (await cache.profiles.get(ana.id, ben.id)).first_name == "Behind"
    with pytest.raises(NotOnboarded):
        await cache.profiles.get(ana.id, UserId(uuid7()))
    with pytest.raises(NotFound):
        await cache.profiles.get(UserId(uuid7()), ana.id)


async def test_a_slow_reader_does_not_put_back_what_was_changed_meanwhile(cache: Cache) -> None:
    ana = await cache.ana()
    cache.clock.advance(LIFETIME_S)
    cache.stored.may_go_on.clear()
    cache.stored.has_read.clear()
    reading = asyncio.create_task(cache.read(ana))
    await cache.stored.has_read.wait()
    changed = await cache.change(ana, NOON + MINUTE, first_name="Ana")
    cache.stored.may_go_on.set()
    assert await reading == ana
    assert await cache.read(ana) == changed


async def test_a_slow_reader_does_not_put_back_a_profile_before_its_contact_address(cache: Cache) -> None:
    ana = await cache.ana()
    cache.clock.advance(LIFETIME_S)
    cache.stored.may_go_on.clear()
    cache.stored.has_read.clear()
    reading = asyncio.create_task(cache.read(ana))
    await cache.stored.has_read.wait()
    await cache.profiles.set_contact_email(ana.id, "ana@relay.example", now=NOON + MINUTE)
    cache.stored.may_go_on.set()
    await reading
    assert (await cache.read(ana)).contact_email == "ana@relay.example"
    await cache.behind_its_back(ana)
    assert (await cache.read(ana)).first_name == ""  # cached again


async def test_two_who_change_a_profile_at_once_both_see_it(cache: Cache) -> None:
    """Whichever SQL hears first, and whichever tells the cache first."""
    ana = await cache.ana()
    for n in range(5):
        await asyncio.gather(
            cache.change(ana, NOON + MINUTE, first_name=f"first {n}"),
            cache.change(ana, NOON, last_name=f"last {n}"),
        )
        seen = await cache.read(ana)
        assert (seen.first_name, seen.last_name) == (f"first {n}", f"last {n}")


async def test_an_onboarding_that_changes_nothing_leaves_the_cache_alone(cache: Cache) -> None:
    ana = await cache.ana()
    await cache.behind_its_back(ana)
    await cache.profiles.onboard(replace(ana, updated_at=NOON + MINUTE))
    assert (await cache.read(ana)).first_name == ""
    await cache.profiles.onboard(replace(ana, username="anita", updated_at=NOON + MINUTE))
    assert (await cache.read(ana)).username == "anita"


async def test_a_change_by_a_clock_that_is_behind_is_seen_too(cache: Cache) -> None:
    ana = await cache.ana()
    await cache.change(ana, NOON + 5 * MINUTE, first_name="Ana")
    changed = await cache.change(ana, NOON + MINUTE, last_name="Lima")
    assert await cache.read(ana) == changed
    await cache.profiles.set_contact_email(ana.id, "ana@relay.example", now=NOON)
    assert (await cache.read(ana)).contact_email == "ana@relay.example"


async def test_an_administrators_change_is_seen_by_whom_it_is_about(cache: Cache) -> None:
    ana, ben = await cache.ana(), await cache.profiles.onboard(a_profile("ben"))
    change = ProfileChange(first_name="Anna")
    changed = await cache.profiles.change(ana.id, change, ben.id, is_admin=True, now=NOON + MINUTE)
    assert await cache.read(ana) == changed


async def test_everything_a_profile_has_comes_back_from_the_cache(cache: Cache) -> None:
    ana = await cache.profiles.onboard(a_profile("ana", first_name="Ána", avatar_url="https://x.example/a.png"))
    preferences = {"theme": "dark", "n": 1.5, "nested": {"list": [1, None, "\u2603"]}}
    await cache.profiles.merge_preferences(ana.id, preferences, ana.id, is_admin=False, now=NOON + MINUTE)
    kept = await cache.read(ana)
    await cache.behind_its_back(ana)
    assert await cache.read(ana) == kept
    assert replace(await cache.stored.one(ana.id, ana.id), first_name="Ána") == kept


async def test_an_item_of_another_version_of_ours_is_passed_over(cache: Cache) -> None:
    ana = await cache.ana()
    item = {**cache.item(ana), "profile": {"S": '{"id": 7}'}}
    cache.identity.aws.boto("dynamodb").put_item(TableName=cache.identity.profiles_table, Item=item)
    assert await cache.read(ana) == ana
    assert cache.item(ana)["profile"]["S"] != '{"id": 7}'


@pytest.mark.parametrize("outage", ["nowhere", "no such table"])
async def test_without_its_cache_everything_works_as_before(
    identity: Identity, pool: Database, outage: str
) -> None:
    environment = NOWHERE if outage == "nowhere" else identity.aws.environment
    clock = SetClock(NOON)
    client = AwsClient(DYNAMODB, environment=environment) if outage == "nowhere" else identity.aws.client(DYNAMODB)
    profiles = CachedProfiles(PostgresProfiles(pool), client, "NoSuchTable", clock=clock)
    ana = await profiles.onboard(a_profile("ana"))
    await profiles.set_contact_email(ana.id, "ana@relay.example", now=NOON + MINUTE)
    began_s = time.monotonic()
    for _ in range(20):
        assert (await profiles.get(ana.id, ana.id)).contact_email == "ana@relay.example"
    # Nobody waits for what did not answer a moment ago.
    assert time.monotonic() - began_s < 2
    clock.advance(REST_S)
    assert (await profiles.get(ana.id, ana.id)).contact_email == "ana@relay.example"
