"""The data for the measurements: crews of five on ten trips each, with accounts and tokens.

Rows are inserted with COPY while the server runs: creating four hundred trips through the API would take longer
than the measurements.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import asyncpg

from bench import requests
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
CROWD = 51  # an author, and fifty readers with as many sockets as a user may have, a thousand
PASSWORD = "Over-the-hills-7"
# More than a page of each list; the newest messages are read and reacted to.
MESSAGES, NOTIFICATIONS, POLLS = 60, 30, 5
NEWEST = 20
CHOICES = ("by train", "by bus", "by boat", "on foot")
# Beginnings of places, as a user types them.
LETTERS = ("port", "lisb", "berl", "cair", "toky", "lond", "pari", "sant")
FIRST_NAMES = ("Ana", "Ben", "Chloé", "Dmitri", "Esther")


@dataclass(frozen=True, slots=True)
class Person:
    id: UUID
    crew: int
    username: str
    email: str


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll in which users vote, and the ids of its options."""

    id: UUID
    options: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class World:
    """`trips` has the trips of each crew; all members of a crew are on all of them.

    The users of `crowd` are on one trip, `crowd_trip`, for more sockets than those that a crew may open. `messages`
    has the newest messages of each crew's trips, oldest first; `polls` has a poll of each.
    """

    people: tuple[Person, ...]
    crowd: tuple[Person, ...]
    crowd_trip: UUID
    trips: tuple[tuple[UUID, ...], ...]
    messages: Mapping[UUID, tuple[UUID, ...]]
    polls: Mapping[UUID, "Poll"]
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
            for person in (*self.people, *self.crowd)
        }

    async def people_and_trips(self) -> list[requests.Person]:
        """Every user with a new token, for `bench.requests`: first each user's own choice of the trips."""
        tokens = await self.tokens()
        return [
            requests.Person(
                tokens[person.id],
                [
                    self._fields(person, trip)
                    for trip in (
                        *self.trips[person.crew][index % TRIPS :],
                        *self.trips[person.crew][: index % TRIPS],
                    )
                ],
            )
            for index, person in enumerate(self.people)
        ]

    def _fields(self, person: Person, trip: UUID) -> requests.Fields:
        poll = self.polls[trip]
        return {
            "trip": str(trip),
            "email": person.email,
            "message": tuple(map(str, self.messages[trip])),
            "poll": str(poll.id),
            "option": tuple(map(str, poll.options)),
            "letters": LETTERS,
        }

    async def unread(self) -> None:
        """Remove all receipts and reactions, so that new ones change something."""
        connection = await asyncpg.connect(**self.connect)
        try:
            await connection.execute("TRUNCATE chat_receipts, chat_reactions")
        finally:
            await connection.close()


async def fill(home: Path) -> World:
    """Insert the data into the database of the host that runs on `home`."""
    connect = await connect_kwargs(home)
    people = [
        Person(uuid7(), crew, f"crew{crew}.{name}".lower(), f"crew{crew}.{index}@example.org")
        for crew in range(CREWS)
        for index, name in enumerate(FIRST_NAMES)
    ]
    crowd = [Person(uuid7(), CREWS, f"crowd.{index}", f"crowd.{index}@example.org") for index in range(CROWD)]
    trips, crowd_trip = [tuple(uuid7() for _ in range(TRIPS)) for _ in range(CREWS)], uuid7()
    crews = [people[crew * CREW : (crew + 1) * CREW] for crew in range(CREWS)]
    messages = {trip: tuple(uuid7() for _ in range(MESSAGES)) for crew_trips in trips for trip in crew_trips}
    connection = await asyncpg.connect(**connect)
    try:
        await _copy(connection, [*crews, crowd], [*trips, (crowd_trip,)])
        await _copy_activity(connection, people, trips, messages)
        polls = await _copy_polls(connection, people, trips)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    newest = {trip: ids[-NEWEST:] for trip, ids in messages.items()}
    key = next((home / "keys").glob("signing-*.pem"))
    return World(tuple(people), tuple(crowd), crowd_trip, tuple(trips), newest, polls, connect, key)


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
    connection: "asyncpg.Connection[asyncpg.Record]", crews: list[list[Person]], trips: list[tuple[UUID, ...]]
) -> None:
    """The users of each crew, and its trips."""
    people = [person for crew in crews for person in crew]
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
             crew[0].id, now, now, len(crew))
            for crew, crew_trips in zip(crews, trips, strict=True) for index, trip in enumerate(crew_trips)
        ],
    )  # fmt: skip
    await _into(
        connection,
        "trip_memberships",
        ("id", "trip_id", "user_id", "role", "status", "created_at", "updated_at", "joined_at"),
        [
            (uuid7(), trip, person.id, "OWNER" if index == 0 else "MEMBER", "ACTIVE", now, now, now)
            for crew, crew_trips in zip(crews, trips, strict=True)
            for trip in crew_trips
            for index, person in enumerate(crew)
        ],
    )


async def _copy_activity(
    connection: "asyncpg.Connection[asyncpg.Record]",
    people: list[Person],
    trips: list[tuple[UUID, ...]],
    messages: Mapping[UUID, tuple[UUID, ...]],
) -> None:
    """The chat and the last positions of each trip, and notifications."""
    now = datetime.now(UTC)
    crews = {trip: people[n * CREW : (n + 1) * CREW] for n, crew_trips in enumerate(trips) for trip in crew_trips}
    body, minute = "on my way: the train is late again, so begin without me", timedelta(minutes=1)
    await _into(
        connection,
        "chat_messages",
        ("id", "trip_id", "seq", "user_id", "body", "folded", "event_id", "created_at"),
        [
            (id_, trip, seq, crews[trip][seq % CREW].id, body, body, uuid7(), now - (MESSAGES - seq) * minute)
            for trip, ids in messages.items() for seq, id_ in enumerate(ids, 1)
        ],
    )  # fmt: skip
    await _into(
        connection, "chat_threads", ("trip_id", "last_seq", "last_at"), [(trip, MESSAGES, now) for trip in messages]
    )
    members = [(trip, person.id) for trip, crew in crews.items() for person in crew]
    await _into(
        connection,
        "location_sharing",
        ("trip_id", "user_id", "is_enabled", "updated_at"),
        [(*member, True, now) for member in members],
    )
    await _into(
        connection,
        "last_positions",
        ("trip_id", "user_id", "latitude", "longitude", "accuracy_m", "recorded_at", "received_at", "privacy"),
        [(*member, 41.14, -8.61, 8.0, now, now, "precise") for member in members],
    )
    await _into(
        connection,
        "notifications",
        ("id", "user_id", "type", "metadata", "created_at", "updated_at"),
        [
            (uuid7(), person.id, "TRIP_UPDATED", _metadata(trips[person.crew][index % TRIPS]), now, now)
            for person in people for index in range(NOTIFICATIONS)
        ],
    )  # fmt: skip


async def _copy_polls(
    connection: "asyncpg.Connection[asyncpg.Record]", people: list[Person], trips: list[tuple[UUID, ...]]
) -> dict[UUID, Poll]:
    """Polls of each trip in which the whole crew has voted; the newest of each trip."""
    now = datetime.now(UTC)
    later, hour = now + timedelta(days=7), timedelta(hours=1)
    polls, options, votes, newest = [], [], [], {}
    for number, crew_trips in enumerate(trips):
        crew = people[number * CREW : (number + 1) * CREW]
        for trip in crew_trips:
            for age in reversed(range(POLLS)):
                poll = Poll(uuid7(), tuple(uuid7() for _ in CHOICES))
                at, author = now - (age + 1) * hour, crew[age % CREW].id
                polls.append(
                    (poll.id, trip, "How do we get there?", "choice", "open", False, False, False, "ACTIVE", author,
                     later, at, at)
                )  # fmt: skip
                options += [
                    (option, poll.id, text, text, position, author, at)
                    for position, (option, text) in enumerate(zip(poll.options, CHOICES, strict=True))
                ]
                votes += [
                    (poll.id, person.id, poll.options[index % len(CHOICES)], True, at + (index + 1) * hour / 10)
                    for index, person in enumerate(crew)
                ]
                newest[trip] = poll
    await _into(
        connection,
        "polls",
        ("id", "trip_id", "question", "kind", "ballot", "allow_multiple_votes", "members_add_options",
         "closes_automatically", "status", "created_by", "expires_at", "created_at", "updated_at"),
        polls,
    )  # fmt: skip
    await _into(
        connection,
        "poll_options",
        ("id", "poll_id", "text", "text_key", "position", "created_by", "created_at"),
        options,
    )
    await _into(connection, "poll_votes", ("poll_id", "user_id", "option_id", "is_single", "created_at"), votes)
    return newest


def _metadata(trip: UUID) -> str:
    changed = ["description", "startDate", "endDate"]
    return json.dumps(
        {
            "tripID": str(trip),
            "tripName": "Along the Douro",
            "updaterName": "Ana Lindqvist",
            "changedFields": changed,
        }
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
