"""What a user pool and SQL hold together, and what a crash between the two leaves.

The contract of accounts stands in `test_accounts.py`. The emulator lets two users have one alias, requires no
attribute, runs no trigger after a confirmation and locks nobody out. Cognito does otherwise, and the adapter is for
Cognito.
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
from tests.contract.aws_identity import Identity
from tests.contract.people import NOON, PASSWORD, a_new, cheap_passwords
from tests.fakes import SetClock, fake_ports

DAY = timedelta(days=1)


class Crashing(AwsClient):
    """A client whose process ends at a call: before it is made, or before its answer arrives."""

    def __init__(self, identity: Identity) -> None:
        super().__init__(COGNITO, environment=identity.aws.environment)
        self._real = identity.aws.client(COGNITO)
        self.before: str | None = None
        self.after: str | None = None
        self.asked: list[str] = []

    async def call(self, operation: str, body: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        if operation == self.before:
            raise Unavailable
        self.asked.append(operation)
        answer = await self._real.call(operation, body, **options)
        if operation == self.after:
            raise Unavailable
        return answer

    def go_on(self) -> None:
        self.before = self.after = None
        self.asked.clear()


class Repeating:
    """SQL that runs each registration twice."""

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
    """Accounts, and the client they call Cognito through."""

    def __init__(self, identity: Identity, client: Crashing, sql: Database) -> None:
        self.sql = sql
        self.client = client
        client.go_on()
        self.pool = UserPool(self.client, identity.pool_id, identity.client_id)
        passwords = cheap_passwords()
        self.sessions = identity.sessions(sql, passwords)
        self.accounts = CognitoAccounts(self.pool, sql, self.sessions, passwords)

    async def register(self, new: NewAccount, password: str = PASSWORD) -> Account:
        return await self.accounts.register(new, password, confirmed=True, now=NOON)

    async def request(self, new: NewAccount, password: str = PASSWORD) -> RegistrationId:
        id_ = RegistrationId(uuid7())
        await self.accounts.request(new, password, id_, EventId(uuid7()), now=NOON)
        return id_

    async def opens(self, login: str, password: str = PASSWORD) -> bool:
        return await self.accounts.check(await self.accounts.find(login, now=NOON), password)

    async def user(self, id_: UUID) -> dict[str, Any] | None:
        try:
            found = await self.pool.admin("AdminGetUser", str(id_))
        except AwsError as refused:
            if refused.code != "UserNotFoundException":
                raise
            return None
        return {"status": found["UserStatus"], **{each["Name"]: each["Value"] for each in found["UserAttributes"]}}


@pytest.fixture(scope="module")
def client(identity: Identity) -> Crashing:
    return Crashing(identity)


@pytest.fixture
def pair(identity: Identity, client: Crashing, pool: Database) -> Pair:
    return Pair(identity, client, pool)


async def test_the_user_of_an_account_is_named_by_our_id_and_has_its_aliases(pair: Pair) -> None:
    account = await pair.register(a_new("ana"))
    user = await pair.user(account.user_id)
    assert user is not None
    assert user["status"] == "CONFIRMED"
    assert (user["email"], user["email_verified"], user["preferred_username"]) == ("ana@example.org", "true", "ana")
    assert (user["given_name"], user["family_name"]) == ("Ana", "ana")  # required, and Ana gave one name
    assert user["sub"] != str(account.user_id)


async def test_sql_holds_no_password(pair: Pair) -> None:
    await pair.register(a_new("ana"))
    id_ = await pair.request(a_new("ben"))
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
async def test_a_registration_that_crashed_midway_can_be_sent_again(
    pair: Pair, before: str | None, after: str | None
) -> None:
    new = a_new("ana")
    pair.client.before, pair.client.after = before, after
    with pytest.raises(Unavailable):
        await pair.register(new)
    pair.client.go_on()
    assert await pair.accounts.find("ana", now=NOON) is None
    assert not await pair.opens("ana")
    for again in (new, a_new("ana")):
        account = await pair.register(again)
        assert account.profile.username == "ana"
    assert await pair.opens("ana")
    assert (await pair.accounts.page(limit=9, offset=0)).total == 1


async def test_nobody_gets_an_account_that_a_crash_left_half_made(pair: Pair) -> None:
    """SQL knows nobody whom Cognito has no password for, so there is nothing to take over."""
    pair.client.after = "AdminCreateUser"
    with pytest.raises(Unavailable):
        await pair.register(a_new("ana"))
    pair.client.go_on()
    await pair.register(a_new("x", "ana", email="ana@example.org"), "Intruder1!x")
    assert not await pair.opens("ana")
    assert await pair.opens("ana", "Intruder1!x")


async def test_whoever_cannot_register_leaves_no_user_behind(pair: Pair) -> None:
    await pair.register(a_new("ana"))
    taken = a_new("x", "Ana", email="x@example.org")
    with pytest.raises(UsernameTaken):
        await pair.register(taken)
    assert await pair.user(taken.user_id) is None
    with pytest.raises(EmailTaken):
        await pair.register(a_new("y", email="ana@example.org"), "Intruder1!x")


async def test_a_registration_whose_row_is_written_twice_keeps_its_user(identity: Identity, pair: Pair) -> None:
    """The answer of SQL was lost, and the statement sent once more: what is there already is one's own."""
    twice = CognitoAccounts(pair.pool, Repeating(pair.sql), pair.sessions, cheap_passwords())
    new = a_new("ana")
    account = await twice.register(new, PASSWORD, confirmed=True, now=NOON)
    assert account.user_id == new.user_id
    assert await pair.user(new.user_id) is not None
    assert await pair.opens("ana")


async def test_a_registration_sent_many_times_at_once_leaves_one_user(pair: Pair) -> None:
    wanted = [a_new("ana") for _ in range(6)]
    made = await asyncio.gather(*(pair.register(new) for new in wanted))
    [user_id] = {account.user_id for account in made}
    left = [new.user_id for new in wanted if await pair.user(new.user_id) is not None]
    assert left == [user_id]


async def test_a_registration_waits_in_the_pool_unconfirmed(pair: Pair) -> None:
    id_ = await pair.request(a_new("ana"))
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
    """Cognito says of both that they are not confirmed, whatever the password."""
    await pair.request(a_new("ana"))
    assert await pair.opens("ana")
    assert not await pair.opens("ana", "Intruder1!x")


async def test_an_account_is_complete_without_its_aliases(pair: Pair) -> None:
    pair.client.before = "AdminUpdateUserAttributes"
    await pair.register(a_new("ana"))
    await pair.accounts.confirm(await pair.request(a_new("ben")), "0badcafe", now=NOON)
    assert await pair.opens("ana")
    assert await pair.opens("ben")


async def test_a_confirmation_that_crashed_midway_is_made_good_by_signing_in(pair: Pair) -> None:
    id_ = await pair.request(a_new("ana"))
    pair.client.before = "AdminConfirmSignUp"
    with pytest.raises(Unavailable):
        await pair.accounts.confirm(id_, "0badcafe", now=NOON)
    pair.client.go_on()
    with pytest.raises(ConfirmationUsed):
        await pair.accounts.confirm(id_, "0badcafe", now=NOON)
    assert not await pair.opens("ana", "Intruder1!x")
    assert await pair.opens("ana")
    user = await pair.user(id_)
    assert user is not None
    assert user["status"] == "CONFIRMED"


async def test_a_request_that_crashed_midway_can_be_sent_again(pair: Pair) -> None:
    pair.client.after = "SignUp"
    with pytest.raises(Unavailable):
        await pair.request(a_new("ana"))
    pair.client.go_on()
    assert await pair.accounts.find("ana", now=NOON) is None
    id_ = await pair.request(a_new("ana"))
    await pair.accounts.confirm(id_, "0badcafe", now=NOON)
    assert await pair.opens("ana")


async def test_requests_ask_cognito_the_same_whether_there_is_an_account_or_not(pair: Pair) -> None:
    await pair.register(a_new("ana"))
    assert await pair.opens("ana")
    pair.client.go_on()
    await pair.request(a_new("ben"))
    of_a_stranger = list(pair.client.asked)
    pair.client.go_on()
    await pair.request(a_new("x", email="ana@example.org"), "Intruder1!x")
    assert pair.client.asked == of_a_stranger == ["SignUp"]


async def test_checks_ask_cognito_the_same_for_everybody_and_nobody(pair: Pair) -> None:
    await pair.register(a_new("ana"))
    await pair.request(a_new("ben"))
    asked = []
    for login, password in (
        ("ana", PASSWORD),
        ("ana", "Wrong1!"),
        ("ben", PASSWORD),
        ("cem", PASSWORD),
        ("ana", ""),
    ):
        pair.client.go_on()
        await pair.opens(login, password)
        asked.append(tuple(pair.client.asked))
    assert set(asked) == {("AdminInitiateAuth",)}


async def test_passwords_are_the_same_however_they_are_typed(pair: Pair) -> None:
    await pair.register(a_new("ana"), "Su\u0308den2Porto!")
    assert await pair.opens("ana", "S\u00fcden2Porto!")


@pytest.mark.parametrize("odd", ["", " ", "x" * 300, "\ufdfa" * 128, "\x00", "Sail2Porto!\n"])
async def test_odd_passwords_are_wrong(pair: Pair, odd: str) -> None:
    await pair.register(a_new("ana"))
    assert not await pair.opens("ana", odd)


async def test_a_password_the_pool_does_not_take_is_weak(pair: Pair) -> None:
    """The pool may ask for Latin letters, where our own rule takes those of every script."""
    with pytest.raises(WeakPassword):
        await pair.register(a_new("ana"), "пароль№1Пароль")
    with pytest.raises(WeakPassword):
        await pair.request(a_new("ben"), "пароль№1Пароль")
    assert (await pair.accounts.page(limit=9, offset=0)).total == 0


async def test_a_new_password_ends_sessions_and_makes_a_lost_user_anew(pair: Pair) -> None:
    account = await pair.register(a_new("ana"))
    await pair.sessions.open(Session(SessionId(uuid7()), account, NOON + DAY), b"a" * 32, now=NOON)
    await pair.pool.admin("AdminDeleteUser", str(account.user_id))
    assert not await pair.opens("ana")
    await pair.accounts.set_password(account.user_id, "Another2pass!", now=NOON)
    assert await pair.opens("ana", "Another2pass!")
    with pytest.raises(InvalidRefreshToken):
        await pair.sessions.rotate(b"a" * 32, b"b" * 32, now=NOON, expires_at=NOON + DAY)


async def test_a_changed_client_secret_is_fetched_anew(pair: Pair) -> None:
    await pair.register(a_new("ana"))
    assert await pair.opens("ana")
    pair.pool._secret = b"the one before"
    pair.client.go_on()
    assert await pair.opens("ana")
    assert pair.client.asked == ["AdminInitiateAuth", "DescribeUserPoolClient", "AdminInitiateAuth"]


async def test_users_who_never_confirmed_are_forgotten_and_nobody_else_is(pair: Pair) -> None:
    kept, gone = a_new("ana"), a_new("ben")
    waiting = await pair.request(kept)
    # Told the mail was sent again and again, so it can still be confirmed.
    await pair.accounts.remind(waiting, EventId(uuid7()), now=utc_now() + 8 * DAY)
    forgotten = await pair.request(gone)
    unfinished = await pair.request(a_new("cem"))
    pair.client.before = "AdminConfirmSignUp"
    with pytest.raises(Unavailable):
        await pair.accounts.confirm(unfinished, "0badcafe", now=NOON)
    pair.client.go_on()
    account = await pair.register(a_new("dee"))
    assert await CognitoUnconfirmedRegistrations(pair.pool, pair.sql).delete_expired(now=utc_now() + 9 * DAY) == 2
    assert await pair.user(forgotten) is None
    for known in (waiting, unfinished, account.user_id):
        assert await pair.user(known) is not None
    assert await pair.opens("cem")


async def test_the_trigger_and_the_call_confirm_once_together(pair: Pair) -> None:
    ports = fake_ports(registrations=SqlRegistrations(pair.sql), clock=SetClock(NOON))
    by_call = await pair.request(a_new("ana"))
    await pair.accounts.confirm(by_call, "0badcafe", now=NOON)
    by_hand = await pair.request(a_new("ben"))
    await pair.pool.admin("AdminConfirmSignUp", str(by_hand))
    for id_ in (by_call, by_hand):
        event = {"triggerSource": "PostConfirmation_ConfirmSignUp", "userName": str(id_), "response": {}}
        for _ in range(2):
            assert await store_confirmed(event, None, ports) == event
    found = await pair.accounts.get_account(UserId(by_hand))
    assert found is not None
    assert found.confirmed
    assert await pair.opens("ben")
    assert (await pair.accounts.page(limit=9, offset=0)).total == 2
    with pytest.raises(ConfirmationUsed):
        await pair.accounts.confirm(by_hand, "0badcafe", now=NOON)


async def test_the_trigger_makes_nothing_of_what_it_does_not_know(pair: Pair) -> None:
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
