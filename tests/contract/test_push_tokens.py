"""What `PushTokens` promises."""

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
from tests.contract.crew import Crew
from tests.fakes import NOON


@pytest.fixture
def tokens(crew: Crew) -> PostgresPushTokens:
    return PostgresPushTokens(crew.pool)


async def register(
    tokens: PostgresPushTokens, user: UserId, token: str, *, device: DeviceType = DeviceType.IOS, later_s: int = 0
) -> PushToken:
    now = NOON + timedelta(seconds=later_s)
    return await tokens.register(PushTokenId(uuid7()), token, device, user, now=now)


async def reached(tokens: PostgresPushTokens, *people: UserId, push: EventId | None = None) -> set[str]:
    """The phones that a push of ours reaches, which gives them back at once."""
    id_ = push or EventId(uuid7())
    claimed = await tokens.claim(id_, people, now=NOON)
    await tokens.release(id_, [phone.id for phone in claimed.phones])
    return {phone.token for phone in claimed.phones}


async def test_a_token_registered_again_is_the_same_and_active(crew: Crew, tokens: PostgresPushTokens) -> None:
    ana = await crew.person("ana")
    first = await register(tokens, ana, "phone")
    assert (first.user_id, first.token, first.device_type, first.is_active) == (ana, "phone", "ios", True)
    assert first.created_at == first.updated_at == first.last_used_at == NOON
    await tokens.deactivate("phone", ana, now=NOON)
    assert await reached(tokens, ana) == set()
    again = await register(tokens, ana, "phone", device=DeviceType.ANDROID, later_s=60)
    assert (again.id, again.device_type, again.is_active) == (first.id, "android", True)
    assert (again.created_at, again.last_used_at) == (NOON, NOON + timedelta(seconds=60))
    assert await reached(tokens, ana) == {"phone"}


async def test_a_phone_that_changes_hands_is_nobody_elses(crew: Crew, tokens: PostgresPushTokens) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    await register(tokens, ana, "phone")
    await register(tokens, ana, "tablet")
    await register(tokens, ben, "phone")
    assert await reached(tokens, ana) == {"tablet"}
    assert await reached(tokens, ben) == {"phone"}
    await register(tokens, ana, "phone")
    assert await reached(tokens, ana, ben) == {"phone", "tablet"}
    assert await reached(tokens, ben) == set()


async def test_two_who_register_a_phone_at_once_do_not_both_have_it(crew: Crew, tokens: PostgresPushTokens) -> None:
    people = [await crew.person(f"p{n}") for n in range(4)]
    results = await asyncio.gather(
        *(register(tokens, person, "phone") for person in people for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(result, PushToken | Unavailable) for result in results)
    assert len(await reached(tokens, *people)) == 1


async def test_logging_out_ends_ones_own_and_nobody_elses(crew: Crew, tokens: PostgresPushTokens) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    for name in ("one", "two", "three"):
        await register(tokens, ana, name)
    await register(tokens, ben, "bens")
    await tokens.deactivate("one", ana, now=NOON)
    await tokens.deactivate("unknown", ana, now=NOON)
    await tokens.deactivate("bens", ana, now=NOON)
    assert await reached(tokens, ana, ben) == {"two", "three", "bens"}
    await tokens.deactivate(None, ana, now=NOON)
    assert await reached(tokens, ana, ben) == {"bens"}


async def test_who_has_no_profile_has_no_phones(tokens: PostgresPushTokens) -> None:
    with pytest.raises(NotOnboarded):
        await register(tokens, UserId(uuid4()), "phone")
    for token in ("phone", None):
        with pytest.raises(NotOnboarded):
            await tokens.deactivate(token, UserId(uuid4()), now=NOON)


async def test_the_phone_unused_for_longest_makes_room(crew: Crew, tokens: PostgresPushTokens) -> None:
    ana = await crew.person("ana")
    for n in range(MAX_TOKENS_PER_USER):
        await register(tokens, ana, f"phone {n}", later_s=n)
    await register(tokens, ana, "phone 0", later_s=100)
    await register(tokens, ana, "new", later_s=101)
    expected = {f"phone {n}" for n in range(MAX_TOKENS_PER_USER) if n != 1} | {"new"}
    assert await reached(tokens, ana) == expected


async def test_what_was_sent_waits_no_longer_and_is_found_by_its_ticket(
    crew: Crew, tokens: PostgresPushTokens
) -> None:
    ana, push, other = await crew.person("ana"), EventId(uuid7()), EventId(uuid7())
    one, two, three = [await register(tokens, ana, name) for name in ("one", "two", "three")]
    later = NOON + timedelta(minutes=1)
    await tokens.claim(push, [ana], now=NOON)
    for ticket in ("ticket", "of a repeat that comes too late"):
        await tokens.sent(push, {one.id: ticket, two.id: None}, now=later)
    await tokens.release(push, [one.id, three.id])
    assert await reached(tokens, ana, push=push) == {"three"}
    assert await reached(tokens, ana, push=other) == {"one", "two", "three"}
    assert await tokens.tickets(push) == {"ticket": one.id}
    assert await tokens.tickets(other) == {}
    used = {row["token"]: row["last_used_at"] for row in await _rows(crew)}
    assert used == {"one": later, "two": NOON, "three": NOON}
    await tokens.sent(push, {PushTokenId(uuid7()): "of a phone that is gone"}, now=later)
    assert three.last_used_at == NOON


async def test_a_phone_is_one_attempts_at_a_time(crew: Crew, tokens: PostgresPushTokens) -> None:
    ana, push = await crew.person("ana"), EventId(uuid7())
    for name in ("one", "two"):
        await register(tokens, ana, name)
    found = await asyncio.gather(*(tokens.claim(push, [ana], now=NOON) for _ in range(4)))
    assert sorted((len(claimed.phones), claimed.held) for claimed in found) == [(0, 2), (0, 2), (0, 2), (2, 0)]
    [mine] = [claimed.phones for claimed in found if claimed.phones]
    await tokens.sent(push, {mine[0].id: "ticket"}, now=NOON)
    assert await tokens.claim(push, [ana], now=NOON) == Claimed([], 1)
    # Whoever had claimed the other has died.
    assert await tokens.claim(push, [ana], now=NOON + CLAIMED_FOR) == Claimed([mine[1]], 0)
    await tokens.release(push, [mine[1].id])
    assert await tokens.claim(push, [ana], now=NOON + CLAIMED_FOR) == Claimed([mine[1]], 0)


async def test_a_token_that_is_gone_is_gone_for_everybody(crew: Crew, tokens: PostgresPushTokens) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    before = await register(tokens, ana, "phone")
    await register(tokens, ben, "phone")
    await register(tokens, ben, "tablet")
    await tokens.forget([before.id], now=NOON)
    assert await reached(tokens, ana, ben) == {"tablet"}
    await tokens.forget([], now=NOON)
    assert await reached(tokens, ana, ben) == {"tablet"}


async def test_what_is_old_is_deleted_and_what_is_not_stays(crew: Crew, tokens: PostgresPushTokens) -> None:
    ana, push = await crew.person("ana"), EventId(uuid7())
    old, young = await register(tokens, ana, "old"), await register(tokens, ana, "young")
    kept = await register(tokens, ana, "kept")
    await tokens.forget([old.id], now=NOON)
    await tokens.forget([young.id], now=NOON + timedelta(days=1))
    for id_, at in ((push, NOON), (EventId(uuid7()), NOON + timedelta(days=29))):
        await tokens.claim(id_, [ana], now=at)
        await tokens.sent(id_, {kept.id: f"ticket of {id_}"}, now=at)
    upkeep, then = PostgresRetention(crew.pool), NOON + timedelta(days=30, seconds=1)
    assert (await upkeep.delete_push_tokens(then), await upkeep.delete_push_sends(then)) == (1, 1)
    assert {row["token"] for row in await _rows(crew)} == {"young", "kept"}
    assert await tokens.tickets(push) == {}
    assert (await upkeep.delete_push_tokens(then), await upkeep.delete_push_sends(then)) == (0, 0)


async def _rows(crew: Crew) -> list[Row]:
    return await crew.rows("SELECT token, last_used_at FROM user_push_tokens")
