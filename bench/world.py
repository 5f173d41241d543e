"""The data for the measurements: crews of five on ten trips each, with accounts and tokens.

Rows are inserted with COPY while the server runs: creating four hundred trips through the API would take longer
than the measurements.
"""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import asyncpg

from nomadcrew.adapters.jwt.tokens import JwtTokens
from nomadcrew.adapters.machine.keys import open_keys
from nomadcrew.adapters.machine.passwords import Argon2Passwords
from nomadcrew.core.auth.model import Account
from nomadcrew.core.ids import SessionId, UserId, uuid7
from nomadcrew.core.users.model import Profile
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.ports import DEFAULT_ISSUER
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres

CREWS = 40
CREW = 5
TRIPS = 10
PASSWORD = "Over-the-hills-7"
FIRST_NAMES = ("Ana", "Ben", "Chloé", "Dmitri", "Esther")


@dataclass(frozen=True, slots=True)
class Person:
    id: UUID
    crew: int
    username: str
    email: str


@dataclass(frozen=True, slots=True)
class World:
    """`trips` has the trips of each crew; all members of a crew are on all of them."""

    people: tuple[Person, ...]
    trips: tuple[tuple[UUID, ...], ...]
    connect: dict[str, Any]
    signing_key: Path

    def crew(self, number: int) -> tuple[Person, ...]:
        return self.people[number * CREW : (number + 1) * CREW]

    async def tokens(self) -> dict[UUID, str]:
        """A new access token per user; valid for 15 minutes."""
        keys = open_keys(self.signing_key.parent)
        issuer = JwtTokens(keys.signing, keys.confirmations, issuer=DEFAULT_ISSUER)
        now = datetime.now(UTC)
        return {
            person.id: await issuer.issue(_account(person, now), SessionId(uuid7()), now=now)
            for person in self.people
        }


async def fill(home: Path) -> World:
    """Insert the data into the database of the host that runs on `home`."""
    connect = await connect_kwargs(home)
    people = [
        Person(uuid7(), crew, f"crew{crew}.{name}".lower(), f"crew{crew}.{index}@example.org")
        for crew in range(CREWS)
        for index, name in enumerate(FIRST_NAMES)
    ]
    trips = [tuple(uuid7() for _ in range(TRIPS)) for _ in range(CREWS)]
    connection = await asyncpg.connect(**connect)
    try:
        await _copy(connection, people, trips)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return World(tuple(people), tuple(trips), connect, next((home / "keys").glob("signing-*.pem")))


async def connect_kwargs(home: Path) -> dict[str, Any]:
    """Arguments for `asyncpg.connect` for the PostgreSQL of the host on `home`."""
    postgres = EmbeddedPostgres(DataFolder(home), find_binaries())
    await postgres.attach()
    return postgres.connect_kwargs


def sqlalchemy_url(connect: dict[str, Any]) -> str:
    """The same as a URL for SQLAlchemy."""
    host = quote(connect["host"], safe="")
    return f"postgresql+asyncpg://{connect['user']}@/{connect['database']}?host={host}&port={connect['port']}"


async def _copy(
    connection: "asyncpg.Connection[asyncpg.Record]", people: list[Person], trips: list[tuple[UUID, ...]]
) -> None:
    now = datetime.now(UTC)
    # One hash for all users: every login verifies it, and hashing two hundred passwords would take a while.
    password_hash = await asyncio.to_thread(_hash)
    await _into(
        connection,
        "user_profiles",
        ("id", "email", "username", "first_name", "last_name", "created_at", "updated_at"),
        [(p.id, p.email, p.username, p.username.partition(".")[2].title(), "Lindqvist", now, now) for p in people],
    )
    await _into(
        connection,
        "accounts",
        ("user_id", "password_hash", "confirmed_at", "created_at", "updated_at"),
        [(p.id, password_hash, now, now, now) for p in people],
    )
    await _into(
        connection,
        "trips",
        ("id", "name", "description", "destination_place_id", "destination_address", "destination_name",
         "destination_latitude", "destination_longitude", "start_date", "end_date", "status", "created_by",
         "created_at", "updated_at", "member_count"),
        [
            (trip, f"Along the Douro {index}", "By train from the coast to the border, a day in the vineyards.",
             "ChIJwVPhxKtlJA0RvBSxQFbZSKY", "Porto, Portugal", "Porto", 41.1496, -8.611,
             date(2026, 12, 1) + timedelta(days=index), date(2026, 12, 9) + timedelta(days=index), "PLANNING",
             people[crew * CREW].id, now, now, CREW)
            for crew, crew_trips in enumerate(trips) for index, trip in enumerate(crew_trips)
        ],
    )  # fmt: skip
    await _into(
        connection,
        "trip_memberships",
        ("id", "trip_id", "user_id", "role", "status", "created_at", "updated_at", "joined_at"),
        [
            (uuid7(), trip, person.id, "OWNER" if index == 0 else "MEMBER", "ACTIVE", now, now, now)
            for crew, crew_trips in enumerate(trips)
            for trip in crew_trips
            for index, person in enumerate(people[crew * CREW : (crew + 1) * CREW])
        ],
    )


async def _into(
    connection: "asyncpg.Connection[asyncpg.Record]", table: str, columns: tuple[str, ...], rows: list[Any]
) -> None:
    await connection.copy_records_to_table(table, columns=columns, records=rows)


def _hash() -> str:
    return asyncio.run(Argon2Passwords().hash(PASSWORD))


def _account(person: Person, now: datetime) -> Account:
    return Account(
        Profile(
            UserId(person.id), person.email, person.username, "", "", "", None, None, {}, now, now
        )
    )  # fmt: skip


def write_cases(world: World, path: Path) -> None:
    """Write the input of wrk's script as JSON lines: token, trip and login of every user."""
    tokens = asyncio.run(world.tokens())
    lines = [
        json.dumps([tokens[person.id], str(world.trips[person.crew][index % TRIPS]), person.email])
        for index, person in enumerate(world.people)
    ]
    path.write_text("\n".join(lines) + "\n")
