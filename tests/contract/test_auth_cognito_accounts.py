"""Accounts in a user pool and SQL, and crashes between the two.

`test_auth_accounts.py` is the contract. Unlike Cognito, the emulator lets two users share an alias, requires no
attribute, runs no trigger after a confirmation and locks no user out.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from nomadcrew.adapters.aws.cognito.accounts import CognitoAccounts, SqlRegistrations
from nomadcrew.adapters.aws.cognito.unconfirmed import CognitoUnconfirmedRegistrations
from nomadcrew.adapters.aws.cognito.user_pool import UserPool
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.aws.sdk.services import COGNITO
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.sql import Row, Statement
from nomadcrew.core.auth.errors import ConfirmationUsed, InvalidRefreshToken, WeakPassword
from nomadcrew.core.auth.model import Account, Session
from nomadcrew.core.auth.ports import NewAccount, RegistrationId
from nomadcrew.core.clock import utc_now
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import EventId, SessionId, UserId, uuid7
from nomadcrew.core.users.errors import EmailTaken, UsernameTaken
from nomadcrew.hosts.aws.functions.cognito_confirmed import store_confirmed
from tests.contract.auth_ports import NOON, PASSWORD, cheap_passwords, new_account
from tests.contract.aws_auth import AwsAuth
from tests.fakes import SetClock, fake_ports

DAY = timedelta(days=1)


class CrashingClient(AwsClient):
    """A client whose process crashes before a call is sent, or before its reply arrives."""

    def __init__(self, aws_auth: AwsAuth) -> None:
        super().__init__(COGNITO, environment=aws_auth.aws.environment)
        self._real = aws_auth.aws.client(COGNITO)
        self.before: str | None = None
        self.after: str | None = None
        self.calls: list[str] = []

    async def call(self, operation: str, body: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        if operation == self.before:
            raise Unavailable
        self.calls.append(operation)
        answer = await self._real.call(operation, body, **options)
        if operation == self.after:
            raise Unavailable
        return answer

    def recover(self) -> None:
        self.before = self.after = None
        self.calls.clear()


class RepeatingSql:
    """SQL that runs each registration twice, as after a lost reply."""

    def __init__(self, sql: Database) -> None:
        self._sql = sql

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        if statement.name == "register":
            await self._sql.fetch(statement, **params)
        return await self._sql.fetch(statement, **params)

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return self._sql.transaction()

    def in_transaction(self) -> bool:
        return self._sql.in_transaction()


class Pair:
    """The accounts adapter, and the client through which it calls Cognito."""

    def __init__(self, aws_auth: AwsAuth, client: CrashingClient, sql: Database) -> None:
        self.sql = sql
        self.client = client
        client.recover()
        self.pool = UserPool(self.client, aws_auth.pool_id, aws_auth.client_id)
        passwords = cheap_passwords()
        self.sessions = aws_auth.sessions(sql, passwords)
        self.accounts = CognitoAccounts(self.pool, sql, self.sessions, passwords)

    async def register(self, new: NewAccount, password: str = PASSWORD) -> Account:
        return await self.accounts.register(new, password, confirmed=True, now=NOON)

    async def request(self, new: NewAccount, password: str = PASSWORD) -> RegistrationId:
        id_ = RegistrationId(uuid7())
        await self.accounts.request(new, password, id_, EventId(uuid7()), now=NOON)
        return id_

    async def signs_in(self, login: str, password: str = PASSWORD) -> bool:
        return await self.accounts.check(await self.accounts.find(login, now=NOON), password)

    async def user(self, id_: UUID) -> dict[str, Any] | None:
        try:
            found = await self.pool.admin("AdminGetUser", str(id_))
        except AwsError as refused:
            if refused.code != "UserNotFoundException":
                raise
            return None
        return {
            "status": found["UserStatus"],
            **{attribute["Name"]: attribute["Value"] for attribute in found["UserAttributes"]},
        }


@pytest.fixture(scope="module")
def client(aws_auth: AwsAuth) -> CrashingClient:
    return CrashingClient(aws_auth)


@pytest.fixture
def pair(aws_auth: AwsAuth, client: CrashingClient, pool: Database) -> Pair:
    return Pair(aws_auth, client, pool)


async def test_the_pool_user_has_our_id_as_username_and_its_aliases(pair: Pair) -> None:
    account = await pair.register(new_account("ana"))
    user = await pair.user(account.user_id)
    assert user is not None
    assert user["status"] == "CONFIRMED"
    assert (user["email"], user["email_verified"], user["preferred_username"]) == ("ana@example.org", "true", "ana")
    assert (user["given_name"], user["family_name"]) == ("Ana", "ana")  # the pool requires both; Ana has one name
    assert user["sub"] != str(account.user_id)


async def test_sql_holds_no_password(pair: Pair) -> None:
    await pair.register(new_account("ana"))
    id_ = await pair.request(new_account("ben"))
    await pair.accounts.confirm(id_, "0badcafe", now=NOON)
    async with pair.sql.connection() as connection:
        assert (
            await connection.fetchval("SELECT string_agg(DISTINCT password_hash, ',') FROM accounts") == "cognito"
        )
        assert await connection.fetchval("SELECT string_agg(DISTINCT password_hash, ',') FROM registrations") == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("AdminCreateUser", None),
        (None, "AdminCreateUser"),
        (None, "AdminSetUserPassword"),
    ],
)
async def test_a_registration_that_crashed_can_be_repeated(
    pair: Pair, before: str | None, after: str | None
) -> None:
    new = new_account("ana")
    pair.client.before, pair.client.after = before, after
    with pytest.raises(Unavailable):
        await pair.register(new)
    pair.client.recover()
    assert await pair.accounts.find("ana", now=NOON) is None
    assert not await pair.signs_in("ana")
    for again in (new, new_account("ana")):
        account = await pair.register(again)
        assert account.profile.username == "ana"
    assert await pair.signs_in("ana")
    assert (await pair.accounts.page(limit=9, offset=0)).total == 1


async def test_a_half_finished_account_cannot_be_taken_over(pair: Pair) -> None:
    """SQL has no account until Cognito has its password, so the crash left nothing to take over."""
    pair.client.after = "AdminCreateUser"
    with pytest.raises(Unavailable):
        await pair.register(new_account("ana"))
    pair.client.recover()
    await pair.register(new_account("x", "ana", email="ana@example.org"), "Intruder1!x")
    assert not await pair.signs_in("ana")
    assert await pair.signs_in("ana", "Intruder1!x")


async def test_a_refused_registration_leaves_no_pool_user(pair: Pair) -> None:
    await pair.register(new_account("ana"))
    taken = new_account("x", "Ana", email="x@example.org")
    with pytest.raises(UsernameTaken):
        await pair.register(taken)
    assert await pair.user(taken.user_id) is None
    with pytest.raises(EmailTaken):
        await pair.register(new_account("y", email="ana@example.org"), "Intruder1!x")


async def test_a_registration_whose_row_is_written_twice_has_one_user(aws_auth: AwsAuth, pair: Pair) -> None:
    """After a lost reply the statement is repeated and finds its own row."""
    twice = CognitoAccounts(pair.pool, RepeatingSql(pair.sql), pair.sessions, cheap_passwords())
    new = new_account("ana")
    account = await twice.register(new, PASSWORD, confirmed=True, now=NOON)
    assert account.user_id == new.user_id
    assert await pair.user(new.user_id) is not None
    assert await pair.signs_in("ana")


async def test_concurrent_repeats_of_a_registration_leave_one_user(pair: Pair) -> None:
    wanted = [new_account("ana") for _ in range(6)]
    made = await asyncio.gather(*(pair.register(new) for new in wanted))
    [user_id] = {account.user_id for account in made}
    left = [new.user_id for new in wanted if await pair.user(new.user_id) is not None]
    assert left == [user_id]


async def test_a_pending_registration_is_an_unconfirmed_user(pair: Pair) -> None:
    id_ = await pair.request(new_account("ana"))
    user = await pair.user(id_)
    assert user is not None
    assert user["status"] == "UNCONFIRMED"
    assert "email_verified" not in user
    account = await pair.accounts.confirm(id_, "0badcafe", now=NOON)
    assert account.user_id == id_
    user = await pair.user(id_)
    assert user is not None
    assert (user["status"], user["email_verified"], user["preferred_username"]) == ("CONFIRMED", "true", "ana")


async def test_a_wrong_password_does_not_open_a_registration(pair: Pair) -> None:
    """Cognito reports an unconfirmed user for any password."""
    await pair.request(new_account("ana"))
    assert await pair.signs_in("ana")
    assert not await pair.signs_in("ana", "Intruder1!x")


async def test_an_account_works_without_its_aliases(pair: Pair) -> None:
    pair.client.before = "AdminUpdateUserAttributes"
    await pair.register(new_account("ana"))
    await pair.accounts.confirm(await pair.request(new_account("ben")), "0badcafe", now=NOON)
    assert await pair.signs_in("ana")
    assert await pair.signs_in("ben")


async def test_signing_in_completes_a_confirmation_that_crashed(pair: Pair) -> None:
    id_ = await pair.request(new_account("ana"))
    pair.client.before = "AdminConfirmSignUp"
    with pytest.raises(Unavailable):
        await pair.accounts.confirm(id_, "0badcafe", now=NOON)
    pair.client.recover()
    with pytest.raises(ConfirmationUsed):
        await pair.accounts.confirm(id_, "0badcafe", now=NOON)
    assert not await pair.signs_in("ana", "Intruder1!x")
    assert await pair.signs_in("ana")
    user = await pair.user(id_)
    assert user is not None
    assert user["status"] == "CONFIRMED"


async def test_a_request_that_crashed_can_be_repeated(pair: Pair) -> None:
    pair.client.after = "SignUp"
    with pytest.raises(Unavailable):
        await pair.request(new_account("ana"))
    pair.client.recover()
    assert await pair.accounts.find("ana", now=NOON) is None
    id_ = await pair.request(new_account("ana"))
    await pair.accounts.confirm(id_, "0badcafe", now=NOON)
    assert await pair.signs_in("ana")


async def test_a_registration_request_makes_the_same_calls_for_a_known_address(pair: Pair) -> None:
    await pair.register(new_account("ana"))
    assert await pair.signs_in("ana")
    pair.client.recover()
    await pair.request(new_account("ben"))
    calls_for_unknown = list(pair.client.calls)
    pair.client.recover()
    await pair.request(new_account("x", email="ana@example.org"), "Intruder1!x")
    assert pair.client.calls == calls_for_unknown == ["SignUp"]


async def test_a_password_check_makes_the_same_calls_for_every_login(pair: Pair) -> None:
    await pair.register(new_account("ana"))
    await pair.request(new_account("ben"))
    calls = []
    for login, password in (
        ("ana", PASSWORD),
        ("ana", "Wrong1!"),
        ("ben", PASSWORD),
        ("cem", PASSWORD),
        ("ana", ""),
    ):
        pair.client.recover()
        await pair.signs_in(login, password)
        calls.append(tuple(pair.client.calls))
    assert set(calls) == {("AdminInitiateAuth",)}


async def test_passwords_are_compared_in_one_unicode_form(pair: Pair) -> None:
    await pair.register(new_account("ana"), "Su\u0308den2Porto!")
    assert await pair.signs_in("ana", "S\u00fcden2Porto!")


@pytest.mark.parametrize("odd", ["", " ", "x" * 300, "\ufdfa" * 128, "\x00", "Sail2Porto!\n"])
async def test_unusual_passwords_are_wrong(pair: Pair, odd: str) -> None:
    await pair.register(new_account("ana"))
    assert not await pair.signs_in("ana", odd)


async def test_a_password_that_the_pool_rejects_is_weak(pair: Pair) -> None:
    """The pool may require Latin letters, while our rule accepts letters of every script."""
    with pytest.raises(WeakPassword):
        await pair.register(new_account("ana"), "пароль№1Пароль")
    with pytest.raises(WeakPassword):
        await pair.request(new_account("ben"), "пароль№1Пароль")
    assert (await pair.accounts.page(limit=9, offset=0)).total == 0


async def test_a_new_password_ends_sessions_and_recreates_a_lost_user(pair: Pair) -> None:
    account = await pair.register(new_account("ana"))
    await pair.sessions.open(Session(SessionId(uuid7()), account, NOON + DAY), b"a" * 32, now=NOON)
    await pair.pool.admin("AdminDeleteUser", str(account.user_id))
    assert not await pair.signs_in("ana")
    await pair.accounts.set_password(account.user_id, "Another2pass!", now=NOON)
    assert await pair.signs_in("ana", "Another2pass!")
    with pytest.raises(InvalidRefreshToken):
        await pair.sessions.rotate(b"a" * 32, b"b" * 32, now=NOON, expires_at=NOON + DAY)


async def test_a_changed_client_secret_is_fetched_again(pair: Pair) -> None:
    await pair.register(new_account("ana"))
    assert await pair.signs_in("ana")
    pair.pool._secret = b"the one before"
    pair.client.recover()
    assert await pair.signs_in("ana")
    assert pair.client.calls == ["AdminInitiateAuth", "DescribeUserPoolClient", "AdminInitiateAuth"]


async def test_only_expired_unconfirmed_users_are_deleted(pair: Pair) -> None:
    reminded, expired = new_account("ana"), new_account("ben")
    reminded_id = await pair.request(reminded)
    # A reminder was sent, so this registration can still be confirmed.
    await pair.accounts.remind(reminded_id, EventId(uuid7()), now=utc_now() + 8 * DAY)
    expired_id = await pair.request(expired)
    unfinished = await pair.request(new_account("cem"))
    pair.client.before = "AdminConfirmSignUp"
    with pytest.raises(Unavailable):
        await pair.accounts.confirm(unfinished, "0badcafe", now=NOON)
    pair.client.recover()
    account = await pair.register(new_account("dee"))
    assert await CognitoUnconfirmedRegistrations(pair.pool, pair.sql).delete_expired(now=utc_now() + 9 * DAY) == 2
    assert await pair.user(expired_id) is None
    for known in (reminded_id, unfinished, account.user_id):
        assert await pair.user(known) is not None
    assert await pair.signs_in("cem")


async def test_trigger_and_call_confirm_once(pair: Pair) -> None:
    ports = fake_ports(registrations=SqlRegistrations(pair.sql), clock=SetClock(NOON))
    by_call = await pair.request(new_account("ana"))
    await pair.accounts.confirm(by_call, "0badcafe", now=NOON)
    by_hand = await pair.request(new_account("ben"))
    await pair.pool.admin("AdminConfirmSignUp", str(by_hand))
    for id_ in (by_call, by_hand):
        event = {"triggerSource": "PostConfirmation_ConfirmSignUp", "userName": str(id_), "response": {}}
        for _ in range(2):
            assert await store_confirmed(event, None, ports) == event
    found = await pair.accounts.get_account(UserId(by_hand))
    assert found is not None
    assert found.confirmed
    assert await pair.signs_in("ben")
    assert (await pair.accounts.page(limit=9, offset=0)).total == 2
    with pytest.raises(ConfirmationUsed):
        await pair.accounts.confirm(by_hand, "0badcafe", now=NOON)


async def test_the_trigger_ignores_unknown_users_and_events(pair: Pair) -> None:
    ports = fake_ports(registrations=SqlRegistrations(pair.sql), clock=SetClock(NOON))
    signed_up = "PostConfirmation_ConfirmSignUp"
    for event in (
        {"triggerSource": signed_up, "userName": str(uuid7())},
        {"triggerSource": signed_up, "userName": "ana"},
        {"triggerSource": signed_up, "userName": None},
        {"triggerSource": "PostConfirmation_ConfirmForgotPassword", "userName": str(uuid7())},
        {},
    ):
        assert await store_confirmed(event, None, ports) == event
    assert (await pair.accounts.page(limit=9, offset=0)).total == 0
