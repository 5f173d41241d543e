"""The profile cache: never older than a change, and optional. `test_users_profiles.py` is the contract."""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from nomadcrew.adapters.aws.dynamodb.profile_cache import LIFETIME_S, REST_S, CachedProfiles
from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.adapters.aws.sdk.services import DYNAMODB
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.pictures import PostgresPictures
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.core.errors import NotFound, NotOnboarded
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import EventId, PictureId, UserId, uuid7
from nomadcrew.core.pictures.model import NewPicture
from nomadcrew.core.users.model import Profile
from nomadcrew.core.users.ports import ContactEmailCodeId, ProfileChange
from tests.contract.auth_ports import NOON, new_profile
from tests.contract.aws_auth import AwsAuth
from tests.fakes import SetClock

MINUTE = timedelta(minutes=1)
_RENAME = compile_statement("rename", "UPDATE user_profiles SET first_name = 'Behind' WHERE id = :id::uuid")
UNREACHABLE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "eu-west-1",
}


class SlowProfiles(PostgresProfiles):
    """Profiles whose next read waits with its result until released."""

    def __init__(self, sql: Database) -> None:
        super().__init__(sql)
        self.has_read = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()

    async def get(self, user_id: UserId, caller: UserId) -> Profile:
        profile = await super().get(user_id, caller)
        self.has_read.set()
        await self.released.wait()
        return profile


class Cache:
    def __init__(self, aws_auth: AwsAuth, sql: Database) -> None:
        self.aws_auth = aws_auth
        self.sql = sql
        self.clock = SetClock(NOON)
        self.stored = SlowProfiles(sql)
        self.profiles = CachedProfiles(
            self.stored, aws_auth.aws.client(DYNAMODB), aws_auth.profiles_table, clock=self.clock
        )

    async def ana(self) -> Profile:
        """The profile of a user in the cache."""
        return await self.read(await self.profiles.onboard(new_profile("ana")))

    async def read(self, profile: Profile) -> Profile:
        return await self.profiles.get(profile.id, profile.id)

    async def change(self, profile: Profile, now: Any, **to: str) -> Profile:
        return await self.profiles.change(profile.id, ProfileChange(**to), profile.id, is_admin=False, now=now)

    async def change_in_sql(self, profile: Profile) -> None:
        """Change the database without the cache, so that a test sees the source of a read."""
        await self.sql.fetch(_RENAME, id=profile.id)

    def item(self, profile: Profile) -> Mapping[str, Any]:
        dynamodb = self.aws_auth.aws.boto("dynamodb")
        found = dynamodb.get_item(
            TableName=self.aws_auth.profiles_table, Key={"userId": {"S": str(profile.id)}}, ConsistentRead=True
        )
        item: Mapping[str, Any] = found["Item"]
        return item


@pytest.fixture
def cache(aws_auth: AwsAuth, pool: Database) -> Cache:
    return Cache(aws_auth, pool)


async def test_a_users_own_profile_is_read_from_sql_once_an_hour(cache: Cache) -> None:
    ana = await cache.ana()
    await cache.change_in_sql(ana)
    cache.clock.advance(LIFETIME_S - 1)
    assert await cache.read(ana) == ana
    assert int(cache.item(ana)["ttl"]["N"]) == int(NOON.timestamp()) + LIFETIME_S
    # Expired but present: DynamoDB takes days to delete it.
    cache.clock.advance(1)
    assert (await cache.read(ana)).first_name == "Behind"


async def test_profiles_of_others_are_never_read_from_the_cache(cache: Cache) -> None:
    """SQL decides whether the caller may read them."""
    ana, ben = await cache.ana(), await cache.profiles.onboard(new_profile("ben"))
    await cache.change_in_sql(ana)
    assert (await cache.profiles.get(ana.id, ben.id)).first_name == "Behind"
    with pytest.raises(NotOnboarded):
        await cache.profiles.get(ana.id, UserId(uuid7()))
    with pytest.raises(NotFound):
        await cache.profiles.get(UserId(uuid7()), ana.id)


async def test_a_slow_read_does_not_overwrite_a_newer_change(cache: Cache) -> None:
    ana = await cache.ana()
    cache.clock.advance(LIFETIME_S)
    cache.stored.released.clear()
    cache.stored.has_read.clear()
    reading = asyncio.create_task(cache.read(ana))
    await cache.stored.has_read.wait()
    changed = await cache.change(ana, NOON + MINUTE, first_name="Ana")
    cache.stored.released.set()
    assert await reading == ana
    assert await cache.read(ana) == changed


async def test_a_slow_read_does_not_overwrite_a_newer_contact_address(cache: Cache) -> None:
    ana = await cache.ana()
    cache.clock.advance(LIFETIME_S)
    cache.stored.released.clear()
    cache.stored.has_read.clear()
    reading = asyncio.create_task(cache.read(ana))
    await cache.stored.has_read.wait()
    await cache.profiles.set_contact_email(
        ana.id,
        "ana@relay.example",
        code_id=ContactEmailCodeId(uuid7()),
        event_id=EventId(uuid7()),
        now=NOON + MINUTE,
    )
    cache.stored.released.set()
    await reading
    assert (await cache.read(ana)).contact_email == "ana@relay.example"
    await cache.change_in_sql(ana)
    assert (await cache.read(ana)).first_name == ""  # cached again


async def test_a_new_avatar_is_visible(cache: Cache) -> None:
    ana = await cache.ana()
    new = NewPicture(PictureId(uuid7()), FileKind.PNG, 10)
    avatar = await PostgresPictures(cache.sql).reserve_avatar(ana.id, new, fingerprint=new.id.bytes, now=NOON)
    changed = await cache.profiles.set_avatar(
        ana.id, avatar, f"https://trips.example.org/v1/avatars/{avatar}", event_id=EventId(uuid7()), now=NOON
    )
    assert (await cache.read(ana)).avatar_url == changed.avatar_url != ana.avatar_url


async def test_concurrent_changes_are_both_visible(cache: Cache) -> None:
    """In any order of the writes to SQL and to the cache."""
    ana = await cache.ana()
    for n in range(5):
        await asyncio.gather(
            cache.change(ana, NOON + MINUTE, first_name=f"first {n}"),
            cache.change(ana, NOON, last_name=f"last {n}"),
        )
        seen = await cache.read(ana)
        assert (seen.first_name, seen.last_name) == (f"first {n}", f"last {n}")


async def test_an_onboarding_without_changes_does_not_touch_the_cache(cache: Cache) -> None:
    ana = await cache.ana()
    await cache.change_in_sql(ana)
    await cache.profiles.onboard(replace(ana, updated_at=NOON + MINUTE))
    assert (await cache.read(ana)).first_name == ""
    await cache.profiles.onboard(replace(ana, username="anita", updated_at=NOON + MINUTE))
    assert (await cache.read(ana)).username == "anita"


async def test_a_change_by_a_slow_clock_is_visible(cache: Cache) -> None:
    ana = await cache.ana()
    await cache.change(ana, NOON + 5 * MINUTE, first_name="Ana")
    changed = await cache.change(ana, NOON + MINUTE, last_name="Lima")
    assert await cache.read(ana) == changed
    await cache.profiles.set_contact_email(
        ana.id, "ana@relay.example", code_id=ContactEmailCodeId(uuid7()), event_id=EventId(uuid7()), now=NOON
    )
    assert (await cache.read(ana)).contact_email == "ana@relay.example"


async def test_an_admins_change_is_visible_to_the_user(cache: Cache) -> None:
    ana, ben = await cache.ana(), await cache.profiles.onboard(new_profile("ben"))
    change = ProfileChange(first_name="Anna")
    changed = await cache.profiles.change(ana.id, change, ben.id, is_admin=True, now=NOON + MINUTE)
    assert await cache.read(ana) == changed


async def test_every_field_of_a_profile_is_cached(cache: Cache) -> None:
    ana = await cache.profiles.onboard(new_profile("ana", first_name="Ána", avatar_url="https://x.example/a.png"))
    preferences = {"theme": "dark", "n": 1.5, "nested": {"list": [1, None, "\u2603"]}}
    await cache.profiles.merge_preferences(ana.id, preferences, ana.id, is_admin=False, now=NOON + MINUTE)
    cached = await cache.read(ana)
    await cache.change_in_sql(ana)
    assert await cache.read(ana) == cached
    assert replace(await cache.stored.get(ana.id, ana.id), first_name="Ána") == cached


async def test_an_unreadable_item_is_replaced(cache: Cache) -> None:
    ana = await cache.ana()
    item = {**cache.item(ana), "profile": {"S": '{"id": 7}'}}
    cache.aws_auth.aws.boto("dynamodb").put_item(TableName=cache.aws_auth.profiles_table, Item=item)
    assert await cache.read(ana) == ana
    assert cache.item(ana)["profile"]["S"] != '{"id": 7}'


@pytest.mark.parametrize("outage", ["nowhere", "no such table"])
async def test_profiles_work_without_the_cache(aws_auth: AwsAuth, pool: Database, outage: str) -> None:
    environment = UNREACHABLE if outage == "nowhere" else aws_auth.aws.environment
    clock = SetClock(NOON)
    client = AwsClient(DYNAMODB, environment=environment) if outage == "nowhere" else aws_auth.aws.client(DYNAMODB)
    profiles = CachedProfiles(PostgresProfiles(pool), client, "NoSuchTable", clock=clock)
    ana = await profiles.onboard(new_profile("ana"))
    await profiles.set_contact_email(
        ana.id,
        "ana@relay.example",
        code_id=ContactEmailCodeId(uuid7()),
        event_id=EventId(uuid7()),
        now=NOON + MINUTE,
    )
    began_s = time.monotonic()
    for _ in range(20):
        assert (await profiles.get(ana.id, ana.id)).contact_email == "ana@relay.example"
    # The cache is skipped for a while after a failure.
    assert time.monotonic() - began_s < 2
    clock.advance(REST_S)
    assert (await profiles.get(ana.id, ana.id)).contact_email == "ana@relay.example"
