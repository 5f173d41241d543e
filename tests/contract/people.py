"""Accounts and profiles on a database, with cheap password hashes."""

from datetime import UTC, datetime

from nomadcrew.adapters.embedded.passwords import Argon2Passwords
from nomadcrew.adapters.postgres.accounts import PostgresAccounts
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.sessions import PostgresSessions
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.core.identity.model import Account, Profile
from nomadcrew.core.identity.ports import NewAccount
from nomadcrew.core.ids import UserId, uuid7

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PASSWORD = "Sail2Porto!"

_OUTBOX = compile_statement(
    "outbox", "SELECT type, audience, recipient_id, payload FROM outbox ORDER BY occurred_at, id"
)


class People:
    """Everything that knows who somebody is, on one database."""

    def __init__(self, pool: Database) -> None:
        self.pool = pool
        self.accounts = PostgresAccounts(pool, Argon2Passwords(time_cost=1, memory_kib=64))
        self.sessions = PostgresSessions(pool)
        self.profiles = PostgresProfiles(pool)

    async def account(self, name: str, password: str = PASSWORD, *, now: datetime = NOON) -> Account:
        return await self.accounts.register(a_new(name), password, confirmed=True, now=now)

    async def profile(self, name: str, **fields: str) -> Profile:
        """A person who signs in elsewhere."""
        return await self.profiles.onboard(a_profile(name, **fields))

    async def events(self) -> list[tuple[str, str, str]]:
        rows = await self.pool.fetch(_OUTBOX)
        assert all(row["audience"] == "internal" and row["recipient_id"] is None for row in rows)
        return [(row["type"], row["audience"], row["payload"]) for row in rows]


def a_new(name: str, *usernames: str, email: str | None = None) -> NewAccount:
    return NewAccount(UserId(uuid7()), email or f"{name}@example.org", usernames or (name,), name.title(), "")


def a_profile(name: str, **fields: str) -> Profile:
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
