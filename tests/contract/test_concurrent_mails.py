"""Mails to one address, caused at the same moment by many: together they stay within the limit of the address."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest_asyncio

from nomadcrew.adapters.postgres.accounts import MAX_REQUESTS_PER_HOUR, PostgresAccounts
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.invitations import PostgresInvitations
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.core.access import Command
from nomadcrew.core.auth.ports import RegistrationId
from nomadcrew.core.ids import EventId, InvitationId, TripId, UserId, uuid7
from nomadcrew.core.mail import MAX_MAILS
from nomadcrew.core.permissions import ADMIN, Role
from nomadcrew.core.users.ports import ContactEmailCodeId
from tests.contract.auth_ports import cheap_passwords, new_account
from tests.contract.trip_database import TripDb
from tests.fakes import NOON
from tests.postgres import Postgres

VICTIM = "victim@example.net"
CROWD = 12
_MAILED = """
    SELECT count(*) AS mails FROM outbox
    WHERE type = 'contact_email.confirmation_requested' OR (payload ->> 'is_mailed')::boolean"""


@pytest_asyncio.fixture(loop_scope="session")
async def db(postgres: Postgres, template: str) -> AsyncIterator[TripDb]:
    connect = await postgres.fresh_database(template)
    pool = Database(connect, size=2 * CROWD)
    yield TripDb(pool)
    await pool.close()
    await postgres.drop_database(connect)


async def invite(db: TripDb, trip: TripId, by: UserId) -> None:
    command = Command(trip, by, ADMIN, EventId(uuid7()), NOON)
    await PostgresInvitations(db.pool).invite(command, VICTIM, Role.MEMBER, invitation_id=InvitationId(uuid7()))


async def claim(db: TripDb, by: UserId) -> None:
    await PostgresProfiles(db.pool).set_contact_email(
        by, VICTIM, code_id=ContactEmailCodeId(uuid7()), event_id=EventId(uuid7()), now=NOON
    )


async def mailed(db: TripDb) -> int:
    [row] = await db.rows(_MAILED)
    return int(row["mails"])


async def test_invitations_from_many_trips_at_once_send_as_many_mails_as_allowed(db: TripDb) -> None:
    people = [await db.user(f"user{number}") for number in range(2 * CROWD)]
    trips = [await db.trip(person) for person in people]
    await asyncio.gather(*(invite(db, trip, person) for trip, person in zip(trips, people, strict=True)))
    assert await mailed(db) == MAX_MAILS


async def test_contact_addresses_set_by_many_at_once_send_as_many_mails_as_allowed(db: TripDb) -> None:
    people = [await db.user(f"user{number}") for number in range(2 * CROWD)]
    await asyncio.gather(*(claim(db, person) for person in people))
    assert await mailed(db) == MAX_MAILS


async def test_invitations_and_contact_addresses_of_the_same_people_share_the_limit(db: TripDb) -> None:
    """None of them fails either: a deadlock would be an outage."""
    people = [await db.user(f"user{number}") for number in range(CROWD)]
    trips = [await db.trip(person) for person in people]
    for _ in range(5):
        works: list[Callable[[], Awaitable[None]]] = [partial(claim, db, person) for person in people]
        works += [partial(invite, db, trip, person) for trip, person in zip(trips, people, strict=True)]
        random.Random(7).shuffle(works)
        await asyncio.gather(*(work() for work in works))
        assert await mailed(db) == MAX_MAILS
        await db.run("DELETE FROM mails_sent")
        await db.run("DELETE FROM outbox")
        await db.run("DELETE FROM trip_invitations")
        await db.run(
            "UPDATE user_profiles SET contact_email = NULL, contact_email_key = NULL,"
            " contact_email_code_id = NULL, contact_email_mailed_at = NULL"
        )


async def test_registrations_of_one_address_at_once_send_as_many_mails_as_allowed(db: TripDb) -> None:
    accounts = PostgresAccounts(db.pool, cheap_passwords())

    async def register(number: int) -> None:
        new = new_account(f"victim{number}", email=VICTIM)
        await accounts.request(new, f"Different{number}!pw", RegistrationId(uuid7()), EventId(uuid7()), now=NOON)

    await asyncio.gather(*map(register, range(2 * CROWD)))
    assert (await db.types()).count("account.confirmation_requested") == MAX_REQUESTS_PER_HOUR
