"""Sessions: exchanging refresh tokens, the grace, theft, and many at once."""

import asyncio
from datetime import datetime, timedelta

import pytest

from nomadcrew.adapters.postgres.accounts import PostgresAccounts
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.sessions import PostgresSessions
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.core.auth.errors import InvalidRefreshToken
from nomadcrew.core.auth.model import Session
from nomadcrew.core.ids import SessionId, uuid7
from tests.contract.people import NOON, People, cheap_passwords

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
LIFETIME = timedelta(days=30)
_COUNT = compile_statement("count", "SELECT count(*) AS n, count(spent_at) AS spent FROM refresh_tokens")
_DELETE = compile_statement("delete", "DELETE FROM user_profiles")


async def signed_in(people: People, name: str = "ana", token: str = "first") -> Session:
    session = Session(SessionId(uuid7()), await people.account(name), NOON + LIFETIME)
    await people.sessions.open(session, key(token), now=NOON)
    return session


def key(token: str) -> bytes:
    return token.encode().ljust(32, b".")


async def exchange(people: People, spent: str, fresh: str, now: datetime = NOON) -> Session:
    return await people.sessions.rotate(key(spent), key(fresh), now=now, expires_at=now + LIFETIME)


async def refused(people: People, spent: str, now: datetime = NOON) -> InvalidRefreshToken:
    with pytest.raises(InvalidRefreshToken) as caught:
        await exchange(people, spent, f"for {spent}", now)
    return caught.value


async def test_an_exchange_goes_on_with_the_session_and_its_account(people: People) -> None:
    session = await signed_in(people)
    assert await exchange(people, "first", "second") == session


async def test_the_fresh_token_is_exchanged_in_its_turn(people: People) -> None:
    await signed_in(people)
    await exchange(people, "first", "second")
    await exchange(people, "second", "third", NOON + DAY)
    later = await exchange(people, "third", "fourth", NOON + 25 * DAY)
    assert later.expires_at == NOON + 55 * DAY


async def test_an_unknown_token_is_refused(people: People) -> None:
    await signed_in(people)
    assert (await refused(people, "guessed")).ended is None


async def test_a_lost_reply_may_be_asked_for_again_within_half_a_minute(people: People) -> None:
    session = await signed_in(people)
    await exchange(people, "first", "lost")
    again = await exchange(people, "first", "second", NOON + 29 * SECOND)
    assert again.id == session.id
    await exchange(people, "second", "third", NOON + 40 * SECOND)


async def test_the_grace_counts_from_the_first_exchange(people: People) -> None:
    await signed_in(people)
    for n in range(1, 3):
        await exchange(people, "first", f"again {n}", NOON + 14 * n * SECOND)
    assert (await refused(people, "first", NOON + 44 * SECOND)).ended is not None


async def test_a_token_used_again_later_ends_the_whole_family(people: People) -> None:
    session = await signed_in(people)
    await exchange(people, "first", "second")
    assert (await refused(people, "first", NOON + 30 * SECOND)).ended == session.id
    assert (await refused(people, "second", NOON + 31 * SECOND)).ended is None
    assert (await refused(people, "first", NOON + 32 * SECOND)).ended is None


async def test_other_families_of_the_person_live_on(people: People) -> None:
    first = await signed_in(people, token="phone")
    laptop = Session(SessionId(uuid7()), first.account, NOON + LIFETIME)
    await people.sessions.open(laptop, key("laptop"), now=NOON)
    await exchange(people, "phone", "phone 2")
    await refused(people, "phone", NOON + DAY)
    assert (await exchange(people, "laptop", "laptop 2", NOON + DAY)).id == laptop.id


async def test_an_expired_token_is_refused(people: People) -> None:
    await signed_in(people)
    await refused(people, "first", NOON + LIFETIME)


async def test_one_token_exchanged_many_times_at_once_keeps_the_family(people: People) -> None:
    session = await signed_in(people)
    exchanged = await asyncio.gather(*(exchange(people, "first", f"fresh {n}") for n in range(8)))
    assert {each.id for each in exchanged} == {session.id}
    for n in range(8):
        await exchange(people, f"fresh {n}", f"fresher {n}", NOON + DAY)


async def test_a_theft_noticed_during_an_exchange_leaves_no_living_token(people: People) -> None:
    await signed_in(people)
    await exchange(people, "first", "second")
    now = NOON + DAY
    await asyncio.gather(
        exchange(people, "second", "third", now), exchange(people, "first", "stolen", now), return_exceptions=True
    )
    for token in ("second", "third", "stolen"):
        await refused(people, token, now + SECOND)


async def test_signing_out_ends_the_family_and_may_be_repeated(people: People) -> None:
    session = await signed_in(people)
    await exchange(people, "first", "second")
    assert await people.sessions.close(key("second"), now=NOON) == session.id
    assert await people.sessions.close(key("second"), now=NOON + SECOND) == session.id
    assert await people.sessions.close(key("unknown"), now=NOON) is None
    assert (await refused(people, "first", NOON + DAY)).ended is None
    await refused(people, "second")


async def test_the_account_is_read_at_each_exchange(people: People) -> None:
    session = await signed_in(people)
    await people.accounts.grant_admin(session.account.user_id, granted=True, now=NOON)
    assert (await exchange(people, "first", "second")).account.is_admin


async def test_nobody_stays_signed_in_without_an_account(people: People) -> None:
    await signed_in(people)
    await people.sql.fetch(_DELETE)
    await refused(people, "first")


async def test_what_no_reuse_could_show_any_more_is_forgotten(pool: Database) -> None:
    """In PostgreSQL; DynamoDB forgets by itself."""
    passwords = cheap_passwords()
    accounts = PostgresAccounts(pool, passwords)
    people = People(pool, accounts, accounts, PostgresSessions(pool), PostgresProfiles(pool))
    await signed_in(people)
    await exchange(people, "first", "second", NOON + 20 * DAY)
    assert await people.sessions.delete_expired(now=NOON + 32 * DAY) == 0
    [row] = await pool.fetch(_COUNT)
    assert (row["n"], row["spent"]) == (1, 0)
    assert await people.sessions.delete_expired(now=NOON + 52 * DAY) == 1
    [row] = await pool.fetch(_COUNT)
    assert row["n"] == 0
