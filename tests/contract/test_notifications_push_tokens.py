"""`PushTokens` over every driver."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from nomadcrew.adapters.postgres.push import PostgresPushTokens
from nomadcrew.adapters.postgres.retention import PostgresRetention
from nomadcrew.adapters.postgres.sql import Row
from nomadcrew.core.errors import NotOnboarded, Unavailable
from nomadcrew.core.ids import EventId, PushTokenId, UserId, uuid7
from nomadcrew.core.notifications.push import CLAIMED_FOR, MAX_TOKENS_PER_USER, Claimed, DeviceType, PushToken
from nomadcrew.core.retention import PUSH_TOKEN_RETENTION
from tests.contract.trip_database import TripDb
from tests.fakes import NOON


@pytest.fixture
def tokens(db: TripDb) -> PostgresPushTokens:
    return PostgresPushTokens(db.pool)


async def register(
    tokens: PostgresPushTokens, user: UserId, token: str, *, device: DeviceType = DeviceType.IOS, later_s: int = 0
) -> PushToken:
    now = NOON + timedelta(seconds=later_s)
    return await tokens.register(PushTokenId(uuid7()), token, device, user, now=now)


async def claimable(tokens: PostgresPushTokens, *users: UserId, push: EventId | None = None) -> set[str]:
    """The tokens of the phones that a push claims; the claims are released at once."""
    id_ = push or EventId(uuid7())
    claimed = await tokens.claim(id_, users, now=NOON)
    await tokens.release(id_, [phone.id for phone in claimed.phones])
    return {phone.token for phone in claimed.phones}


@pytest.mark.contract("rest-core.push-token")
async def test_a_token_registered_again_is_the_same_and_active(db: TripDb, tokens: PostgresPushTokens) -> None:
    ana = await db.user("ana")
    first = await register(tokens, ana, "phone")
    assert (first.user_id, first.token, first.device_type, first.is_active) == (ana, "phone", "ios", True)
    assert first.created_at == first.updated_at == first.last_used_at == NOON
    await tokens.deactivate("phone", ana, now=NOON)
    assert await claimable(tokens, ana) == set()
    again = await register(tokens, ana, "phone", device=DeviceType.ANDROID, later_s=60)
    assert (again.id, again.device_type, again.is_active) == (first.id, "android", True)
    assert (again.created_at, again.last_used_at) == (NOON, NOON + timedelta(seconds=60))
    assert await claimable(tokens, ana) == {"phone"}


@pytest.mark.contract("rest-core.push-token.fix-phone")
async def test_a_phone_belongs_to_the_last_user_who_registered_it(db: TripDb, tokens: PostgresPushTokens) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    await register(tokens, ana, "phone")
    await register(tokens, ana, "tablet")
    await register(tokens, ben, "phone")
    assert await claimable(tokens, ana) == {"tablet"}
    assert await claimable(tokens, ben) == {"phone"}
    await register(tokens, ana, "phone")
    assert await claimable(tokens, ana, ben) == {"phone", "tablet"}
    assert await claimable(tokens, ben) == set()


async def test_concurrent_registrations_leave_a_phone_with_one_user(db: TripDb, tokens: PostgresPushTokens) -> None:
    users = [await db.user(f"p{n}") for n in range(4)]
    results = await asyncio.gather(
        *(register(tokens, user, "phone") for user in users for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(result, PushToken | Unavailable) for result in results)
    assert len(await claimable(tokens, *users)) == 1


@pytest.mark.contract("rest-core.remove-push-token", "rest-core.remove-push-tokens")
async def test_deactivation_affects_own_tokens_only(db: TripDb, tokens: PostgresPushTokens) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    for name in ("one", "two", "three"):
        await register(tokens, ana, name)
    await register(tokens, ben, "bens")
    await tokens.deactivate("one", ana, now=NOON)
    await tokens.deactivate("unknown", ana, now=NOON)
    await tokens.deactivate("bens", ana, now=NOON)
    assert await claimable(tokens, ana, ben) == {"two", "three", "bens"}
    await tokens.deactivate(None, ana, now=NOON)
    assert await claimable(tokens, ana, ben) == {"bens"}


async def test_the_phones_of_a_user_without_a_profile_wait_for_it(db: TripDb, tokens: PostgresPushTokens) -> None:
    ana, ben = UserId(uuid4()), await db.user("ben")
    await register(tokens, ben, "shared")
    for n, token in enumerate(["phone", "tablet", "phone", "shared"]):
        waiting = await register(tokens, ana, token, later_s=n)
        assert (waiting.user_id, waiting.token, waiting.is_active) == (ana, token, True)
    assert await claimable(tokens, ana) == set()
    await db.run(
        """INSERT INTO user_profiles (id, email, username, created_at, updated_at)
           VALUES (:id::uuid, 'ana@example.org', 'ana', :now::timestamptz, :now::timestamptz)""",
        id=ana,
        now=NOON,
    )
    assert await claimable(tokens, ana) == {"phone", "tablet", "shared"}
    assert await claimable(tokens, ben) == set()


async def test_a_limited_number_of_phones_wait_for_a_profile_and_not_for_ever(
    db: TripDb, tokens: PostgresPushTokens
) -> None:
    ana = UserId(uuid4())
    for n in range(MAX_TOKENS_PER_USER):
        await register(tokens, ana, f"phone {n}")
    await register(tokens, ana, "phone 0")
    with pytest.raises(NotOnboarded):
        await register(tokens, ana, "one more")
    retention = PostgresRetention(db.pool)
    assert await retention.delete_push_tokens(NOON + PUSH_TOKEN_RETENTION) == 0
    late = NOON + PUSH_TOKEN_RETENTION + timedelta(seconds=1)
    assert await retention.delete_push_tokens(late) == MAX_TOKENS_PER_USER
    for token in ("phone", None):
        with pytest.raises(NotOnboarded):
            await tokens.deactivate(token, UserId(uuid4()), now=NOON)


async def test_a_new_phone_replaces_the_one_unused_for_longest(db: TripDb, tokens: PostgresPushTokens) -> None:
    ana = await db.user("ana")
    for n in range(MAX_TOKENS_PER_USER):
        await register(tokens, ana, f"phone {n}", later_s=n)
    await register(tokens, ana, "phone 0", later_s=100)
    await register(tokens, ana, "new", later_s=101)
    expected = {f"phone {n}" for n in range(MAX_TOKENS_PER_USER) if n != 1} | {"new"}
    assert await claimable(tokens, ana) == expected


async def test_a_sent_push_is_not_claimed_again_and_found_by_its_ticket(
    db: TripDb, tokens: PostgresPushTokens
) -> None:
    ana, push, other = await db.user("ana"), EventId(uuid7()), EventId(uuid7())
    one, two, three = [await register(tokens, ana, name) for name in ("one", "two", "three")]
    later = NOON + timedelta(minutes=1)
    await tokens.claim(push, [ana], now=NOON)
    for ticket in ("ticket", "of a repeat that comes too late"):
        await tokens.sent(push, {one.id: ticket, two.id: None}, now=later)
    await tokens.release(push, [one.id, three.id])
    assert await claimable(tokens, ana, push=push) == {"three"}
    assert await claimable(tokens, ana, push=other) == {"one", "two", "three"}
    assert await tokens.tickets(push) == {"ticket": one.id}
    assert await tokens.tickets(other) == {}
    used = {row["token"]: row["last_used_at"] for row in await _rows(db)}
    assert used == {"one": later, "two": NOON, "three": NOON}
    await tokens.sent(push, {PushTokenId(uuid7()): "of a phone that is gone"}, now=later)
    assert three.last_used_at == NOON


@pytest.mark.contract("jobs.push.fix-retry")
async def test_one_attempt_claims_a_phone_at_a_time(db: TripDb, tokens: PostgresPushTokens) -> None:
    ana, push = await db.user("ana"), EventId(uuid7())
    for name in ("one", "two"):
        await register(tokens, ana, name)
    found = await asyncio.gather(*(tokens.claim(push, [ana], now=NOON) for _ in range(4)))
    assert sorted((len(claimed.phones), claimed.held) for claimed in found) == [(0, 2), (0, 2), (0, 2), (2, 0)]
    [claimed_phones] = [claimed.phones for claimed in found if claimed.phones]
    await tokens.sent(push, {claimed_phones[0].id: "ticket"}, now=NOON)
    assert await tokens.claim(push, [ana], now=NOON) == Claimed([], 1)
    # The attempt that had claimed the other phone crashed.
    assert await tokens.claim(push, [ana], now=NOON + CLAIMED_FOR) == Claimed([claimed_phones[1]], 0)
    await tokens.release(push, [claimed_phones[1].id])
    assert await tokens.claim(push, [ana], now=NOON + CLAIMED_FOR) == Claimed([claimed_phones[1]], 0)


@pytest.mark.contract("jobs.push.gone")
async def test_an_invalid_token_is_deactivated_for_every_user(db: TripDb, tokens: PostgresPushTokens) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    before = await register(tokens, ana, "phone")
    await register(tokens, ben, "phone")
    await register(tokens, ben, "tablet")
    await tokens.forget([before.id], now=NOON)
    assert await claimable(tokens, ana, ben) == {"tablet"}
    await tokens.forget([], now=NOON)
    assert await claimable(tokens, ana, ben) == {"tablet"}


@pytest.mark.contract("jobs.push-tokens")
async def test_old_tokens_and_sends_are_deleted(db: TripDb, tokens: PostgresPushTokens) -> None:
    ana, push = await db.user("ana"), EventId(uuid7())
    old, young = await register(tokens, ana, "old"), await register(tokens, ana, "young")
    kept = await register(tokens, ana, "kept")
    await tokens.forget([old.id], now=NOON)
    await tokens.forget([young.id], now=NOON + timedelta(days=1))
    for id_, at in ((push, NOON), (EventId(uuid7()), NOON + timedelta(days=29))):
        await tokens.claim(id_, [ana], now=at)
        await tokens.sent(id_, {kept.id: f"ticket of {id_}"}, now=at)
    retention, then = PostgresRetention(db.pool), NOON + timedelta(days=30, seconds=1)
    assert (await retention.delete_push_tokens(then), await retention.delete_push_sends(then)) == (1, 1)
    assert {row["token"] for row in await _rows(db)} == {"young", "kept"}
    assert await tokens.tickets(push) == {}
    assert (await retention.delete_push_tokens(then), await retention.delete_push_sends(then)) == (0, 0)


async def _rows(db: TripDb) -> list[Row]:
    return await db.rows("SELECT token, last_used_at FROM user_push_tokens")
