"""`Sessions`: exchange of refresh tokens, grace period, theft and concurrency."""

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
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import SessionId, uuid7
from tests.contract.auth_ports import NOON, AuthPorts, cheap_passwords

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
LIFETIME = timedelta(days=30)
_COUNT = compile_statement("count", "SELECT count(*) AS n, count(spent_at) AS spent FROM refresh_tokens")
_DELETE = compile_statement("delete", "DELETE FROM user_profiles")


async def signed_in(auth: AuthPorts, name: str = "ana", token: str = "first") -> Session:
    session = Session(SessionId(uuid7()), await auth.account(name), NOON + LIFETIME)
    await auth.sessions.open(session, key(token), now=NOON)
    return session


def key(token: str) -> bytes:
    return token.encode().ljust(32, b".")


async def exchange(auth: AuthPorts, spent: str, fresh: str, now: datetime = NOON) -> Session:
    return await auth.sessions.rotate(key(spent), key(fresh), now=now, expires_at=now + LIFETIME)


async def refused(auth: AuthPorts, spent: str, now: datetime = NOON) -> InvalidRefreshToken:
    with pytest.raises(InvalidRefreshToken) as caught:
        await exchange(auth, spent, f"for {spent}", now)
    return caught.value


async def test_an_exchange_continues_the_session(auth: AuthPorts) -> None:
    session = await signed_in(auth)
    assert await exchange(auth, "first", "second") == session


async def test_the_new_token_can_be_exchanged_again(auth: AuthPorts) -> None:
    await signed_in(auth)
    await exchange(auth, "first", "second")
    await exchange(auth, "second", "third", NOON + DAY)
    later = await exchange(auth, "third", "fourth", NOON + 25 * DAY)
    assert later.expires_at == NOON + 55 * DAY


async def test_an_unknown_token_is_refused(auth: AuthPorts) -> None:
    await signed_in(auth)
    assert (await refused(auth, "guessed")).ended is None


async def test_a_spent_token_may_be_repeated_within_half_a_minute(auth: AuthPorts) -> None:
    session = await signed_in(auth)
    await exchange(auth, "first", "second")
    again = await exchange(auth, "first", "second", NOON + 29 * SECOND)
    assert again.id == session.id
    await exchange(auth, "second", "third", NOON + 40 * SECOND)


async def test_a_spent_token_is_not_exchanged_for_another_token(auth: AuthPorts) -> None:
    await signed_in(auth)
    await exchange(auth, "first", "second")
    with pytest.raises(InvalidRefreshToken) as caught:
        await exchange(auth, "first", "fork", NOON + 5 * SECOND)
    assert caught.value.ended is None
    await refused(auth, "fork", NOON + 6 * SECOND)
    await exchange(auth, "second", "third", NOON + 7 * SECOND)


async def test_the_grace_period_starts_at_the_first_exchange(auth: AuthPorts) -> None:
    await signed_in(auth)
    for n in range(3):
        await exchange(auth, "first", "second", NOON + 14 * n * SECOND)
    assert (await refused(auth, "first", NOON + 44 * SECOND)).ended is not None


async def test_reuse_after_the_grace_period_ends_the_session(auth: AuthPorts) -> None:
    session = await signed_in(auth)
    await exchange(auth, "first", "second")
    assert (await refused(auth, "first", NOON + 30 * SECOND)).ended == session.id
    assert (await refused(auth, "second", NOON + 31 * SECOND)).ended is None
    assert (await refused(auth, "first", NOON + 32 * SECOND)).ended is None


async def test_reuse_does_not_end_other_sessions_of_the_user(auth: AuthPorts) -> None:
    first = await signed_in(auth, token="phone")
    laptop = Session(SessionId(uuid7()), first.account, NOON + LIFETIME)
    await auth.sessions.open(laptop, key("laptop"), now=NOON)
    await exchange(auth, "phone", "phone 2")
    await refused(auth, "phone", NOON + DAY)
    assert (await exchange(auth, "laptop", "laptop 2", NOON + DAY)).id == laptop.id


async def test_an_expired_token_is_refused(auth: AuthPorts) -> None:
    await signed_in(auth)
    await refused(auth, "first", NOON + LIFETIME)


async def test_concurrent_exchanges_of_one_token_get_one_token(auth: AuthPorts) -> None:
    session = await signed_in(auth)
    exchanged = await asyncio.gather(*(exchange(auth, "first", "second") for _ in range(8)))
    assert {exchange_.id for exchange_ in exchanged} == {session.id}
    await exchange(auth, "second", "third", NOON + DAY)


async def test_of_concurrent_exchanges_for_different_tokens_one_succeeds(auth: AuthPorts) -> None:
    await signed_in(auth)
    results = await asyncio.gather(
        *(exchange(auth, "first", f"fresh {n}") for n in range(8)), return_exceptions=True
    )
    assert sum(isinstance(result, Session) for result in results) == 1
    assert sum(isinstance(result, InvalidRefreshToken) for result in results) == 7


async def test_reuse_during_an_exchange_leaves_no_valid_token(auth: AuthPorts) -> None:
    await signed_in(auth)
    await exchange(auth, "first", "second")
    now = NOON + DAY
    await asyncio.gather(
        exchange(auth, "second", "third", now), exchange(auth, "first", "stolen", now), return_exceptions=True
    )
    for token in ("second", "third", "stolen"):
        await refused(auth, token, now + SECOND)


async def test_signing_out_ends_the_session_and_can_be_repeated(auth: AuthPorts) -> None:
    session = await signed_in(auth)
    await exchange(auth, "first", "second")
    assert await auth.sessions.close(key("second"), now=NOON) == session.id
    assert await auth.sessions.close(key("second"), now=NOON + SECOND) == session.id
    assert await auth.sessions.close(key("unknown"), now=NOON) is None
    assert (await refused(auth, "first", NOON + DAY)).ended is None
    await refused(auth, "second")


async def test_the_account_is_read_at_each_exchange(auth: AuthPorts) -> None:
    session = await signed_in(auth)
    await auth.accounts.grant_admin(session.account.user_id, granted=True, now=NOON)
    assert (await exchange(auth, "first", "second")).account.is_admin


async def test_a_session_without_an_account_is_refused(auth: AuthPorts) -> None:
    await signed_in(auth)
    await auth.sql.fetch(_DELETE)
    await refused(auth, "first")


async def test_old_tokens_are_deleted(pool: Database) -> None:
    """In PostgreSQL only; DynamoDB expires items by itself."""
    passwords = cheap_passwords()
    accounts = PostgresAccounts(pool, passwords)
    auth = AuthPorts(pool, accounts, accounts, PostgresSessions(pool), PostgresProfiles(pool))
    await signed_in(auth)
    await exchange(auth, "first", "second", NOON + 20 * DAY)
    assert await auth.sessions.delete_expired(now=NOON + 32 * DAY) == 0
    [row] = await pool.fetch(_COUNT)
    assert (row["n"], row["spent"]) == (1, 0)
    assert await auth.sessions.delete_expired(now=NOON + 52 * DAY) == 1
    [row] = await pool.fetch(_COUNT)
    assert row["n"] == 0


async def test_sessions_that_ended_are_listed_by_the_time_of_their_end(pool: Database) -> None:
    accounts, sessions = PostgresAccounts(pool, cheap_passwords()), PostgresSessions(pool)
    auth = AuthPorts(pool, accounts, accounts, sessions, PostgresProfiles(pool))
    phone = await signed_in(auth, token="phone")
    tablet = Session(SessionId(uuid7()), phone.account, NOON + LIFETIME)
    await auth.sessions.open(tablet, key("tablet"), now=NOON)
    assert await sessions.ended_since(NOON - DAY) == []
    await auth.sessions.close(key("phone"), now=NOON)
    assert await sessions.ended_since(NOON - SECOND) == [phone.id]
    await auth.accounts.set_password(phone.account.user_id, "Another2pass!", now=NOON + DAY)
    assert await sessions.ended_since(NOON) == [tablet.id]


async def listed(auth: AuthPorts, session: Session, now: datetime = NOON) -> list[tuple[SessionId, str]]:
    found = await auth.sessions.list_open(session.account.user_id, now=now)
    return [(each.id, each.user_agent) for each in found]


async def another(auth: AuthPorts, first: Session, token: str, now: datetime, user_agent: str = "") -> Session:
    """One more device of the same user."""
    session = Session(SessionId(uuid7()), first.account, now + LIFETIME)
    await auth.sessions.open(session, key(token), now=now, user_agent=user_agent)
    return session


async def test_sessions_are_listed_with_their_device_the_latest_used_first(auth: AuthPorts) -> None:
    phone = await signed_in(auth)
    laptop = await another(auth, phone, "laptop", NOON + SECOND, "Firefox on a laptop")
    await signed_in(auth, "ben", "of ben")
    assert await listed(auth, phone) == [(laptop.id, "Firefox on a laptop"), (phone.id, "")]
    await exchange(auth, "first", "second", NOON + DAY)
    [first, second] = await auth.sessions.list_open(phone.account.user_id, now=NOON + DAY)
    assert (first.id, first.created_at, first.last_used_at) == (phone.id, NOON, NOON + DAY)
    assert timedelta(0) <= first.expires_at - (NOON + DAY + LIFETIME) <= SECOND
    assert (second.id, second.last_used_at) == (laptop.id, NOON + SECOND)


async def test_ended_and_expired_sessions_are_not_listed(auth: AuthPorts) -> None:
    phone = await signed_in(auth)
    laptop = await another(auth, phone, "laptop", NOON + DAY)
    assert [id_ for id_, _ in await listed(auth, phone, NOON + LIFETIME + 2 * SECOND)] == [laptop.id]
    await auth.sessions.close(key("laptop"), now=NOON + DAY)
    assert [id_ for id_, _ in await listed(auth, phone, NOON + DAY)] == [phone.id]


async def test_a_user_ends_a_session_once(auth: AuthPorts) -> None:
    phone = await signed_in(auth)
    laptop = await another(auth, phone, "laptop", NOON)
    await auth.sessions.end(phone.account.user_id, laptop.id, now=NOON)
    assert [id_ for id_, _ in await listed(auth, phone)] == [phone.id]
    await refused(auth, "laptop")
    with pytest.raises(NotFound):
        await auth.sessions.end(phone.account.user_id, laptop.id, now=NOON)


async def test_a_user_cannot_end_the_session_of_another(auth: AuthPorts) -> None:
    phone, of_ben = await signed_in(auth), await signed_in(auth, "ben", "of ben")
    with pytest.raises(NotFound):
        await auth.sessions.end(of_ben.account.user_id, phone.id, now=NOON)
    assert [id_ for id_, _ in await listed(auth, phone)] == [phone.id]


async def test_all_other_sessions_end_at_once(auth: AuthPorts) -> None:
    phone = await signed_in(auth)
    others = {(await another(auth, phone, token, NOON)).id for token in ("laptop", "tablet")}
    of_ben = await signed_in(auth, "ben", "of ben")
    user_id = phone.account.user_id
    assert set(await auth.sessions.end_others(user_id, phone.id, now=NOON)) == others
    assert await auth.sessions.end_others(user_id, phone.id, now=NOON) == []
    assert [id_ for id_, _ in await listed(auth, phone)] == [phone.id]
    assert len(await listed(auth, of_ben)) == 1
    assert await auth.sessions.end_others(user_id, None, now=NOON) == [phone.id]
