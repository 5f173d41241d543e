"""The ports of auth over the adapters of both hosts; those of AWS use the emulator."""

from datetime import UTC, datetime

import pytest

from nomadcrew.adapters.aws.dataapi import DataApi
from nomadcrew.adapters.machine.passwords import Argon2Passwords
from nomadcrew.adapters.postgres.accounts import PostgresAccounts
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.sessions import PostgresSessions
from nomadcrew.adapters.postgres.sql import Sql, compile_statement
from nomadcrew.core.auth.model import Account
from nomadcrew.core.auth.ports import Accounts, NewAccount, Sessions, UnconfirmedRegistrations
from nomadcrew.core.ids import UserId, uuid7
from nomadcrew.core.users.model import Profile
from nomadcrew.core.users.ports import Profiles
from tests.contract.aws_auth import AwsAuth

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PASSWORD = "Sail2Porto!"

_OUTBOX = compile_statement(
    "outbox", "SELECT type, audience, recipient_id, payload FROM outbox ORDER BY occurred_at, id"
)


class AuthPorts:
    """Accounts, sessions and profiles on one database, `sql`."""

    def __init__(
        self,
        sql: Sql,
        accounts: Accounts,
        abandoned: UnconfirmedRegistrations,
        sessions: Sessions,
        profiles: Profiles,
    ) -> None:
        self.sql = sql
        self.accounts = accounts
        self.abandoned = abandoned
        self.sessions = sessions
        self.profiles = profiles

    async def account(self, name: str, password: str = PASSWORD, *, now: datetime = NOON) -> Account:
        return await self.accounts.register(new_account(name), password, confirmed=True, now=now)

    async def profile(self, name: str, **fields: str) -> Profile:
        """Onboard a user of another issuer."""
        return await self.profiles.onboard(new_profile(name, **fields))

    async def events(self) -> list[tuple[str, str, str]]:
        rows = await self.sql.fetch(_OUTBOX)
        assert all(row["audience"] == "internal" and row["recipient_id"] is None for row in rows)
        return [(row["type"], row["audience"], row["payload"]) for row in rows]


def cheap_passwords() -> Argon2Passwords:
    return Argon2Passwords(time_cost=1, memory_kib=64)


@pytest.fixture
def auth(sql: Sql, request: pytest.FixtureRequest) -> AuthPorts:
    """The machine host's adapters on PostgreSQL, those of AWS over the Data API."""
    passwords = cheap_passwords()
    if not isinstance(sql, DataApi):
        machine_accounts = PostgresAccounts(sql, passwords)
        return AuthPorts(sql, machine_accounts, machine_accounts, PostgresSessions(sql), PostgresProfiles(sql))
    aws_auth: AwsAuth = request.getfixturevalue("aws_auth")
    sessions = aws_auth.sessions(sql, passwords)
    accounts, abandoned = aws_auth.accounts(sql, passwords), aws_auth.abandoned(sql)
    return AuthPorts(sql, accounts, abandoned, sessions, aws_auth.profiles(sql))


def new_account(name: str, *usernames: str, email: str | None = None) -> NewAccount:
    return NewAccount(UserId(uuid7()), email or f"{name}@example.org", usernames or (name,), name.title(), "")


def new_profile(name: str, **fields: str) -> Profile:
    return Profile(
        id=UserId(uuid7()),
        email=fields.get("email", f"{name}@example.org"),
        username=fields.get("username", name),
        first_name=fields.get("first_name", ""),
        last_name=fields.get("last_name", ""),
        avatar_url=fields.get("avatar_url", ""),
        contact_email=None,
        location_privacy_preference=None,
        preferences={},
        created_at=NOON,
        updated_at=NOON,
    )
