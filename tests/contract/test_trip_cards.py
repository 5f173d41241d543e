"""Cards of trips: as the API writes a trip that is read row by row, and true after every write."""

import asyncio
import contextvars
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.integrity import PostgresIntegrity
from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.api.trips.bodies import trip_view
from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, MembershipId, TripId, UserId, uuid7
from nomadcrew.core.permissions import ADMIN, MEMBER, OWNER, Role
from nomadcrew.core.trips.model import Status, TripChange, TripSearch
from nomadcrew.web.dispatch import encode
from tests.contract.trip_database import TripDb
from tests.fakes import NOON
from tests.postgres import Postgres

TEXTS = (
    "", "Zoë Ångström-Nuñez", "e\u0301 decomposed", "quotes \"double\" 'single' and \\ back/slash",
    "🏕️ 👍🏽 🇵🇹", "日本語 עברית", "line\nbreak\ttab\r\x01\x1f\x7f\u2028\xa0", "null", "{x} %s </script>",
)  # fmt: skip
NUMBERS = (0.0, -0.0, 41.0, -8.611, 89.99999999999999, 0.1 + 0.2, 1e-5, -1.23e-5, 9.9e-6, 1.5e-10, 0.00012)


async def card(db: TripDb, trip: TripId, caller: UserId) -> str:
    return await PostgresTrips(db.pool).card(Access(trip, caller, MEMBER))


async def require_true(db: TripDb, trip: TripId, caller: UserId) -> str:
    """The card, once it is compared with the trip that is read row by row, and with the card in lists."""
    trips = PostgresTrips(db.pool)
    found = await card(db, trip, caller)
    assert found == encode(trip_view(await trips.get(Access(trip, caller, MEMBER)))).decode()
    search = TripSearch(None, None, None, None, limit=50, offset=0)
    for page in (
        await trips.list_for_user(caller),
        await trips.search(Access(trip, caller, MEMBER), search),
    ):
        assert [listed.body for listed in page.trips if listed.id == trip] == [found]
    return found


async def name(db: TripDb, user: UserId, first: str, last: str) -> None:
    await db.run(
        "UPDATE user_profiles SET first_name = :first::text, last_name = :last::text WHERE id = :id::uuid",
        id=user, first=first, last=last,
    )  # fmt: skip


async def change(db: TripDb, trip: TripId, caller: UserId, **fields: Any) -> None:
    await PostgresTrips(db.pool).change(
        Access(trip, caller, ADMIN),
        TripChange(**fields),
        must_move=False,
        event_ids=(EventId(uuid7()), EventId(uuid7())),
        now=NOON + timedelta(hours=1, microseconds=1_200),
    )


@pytest.mark.parametrize("text", TEXTS)
async def test_a_card_writes_texts_as_the_api_does(db: TripDb, text: str) -> None:
    ana = await db.user("ana")
    trip = await db.trip(
        ana, name=text or "x", description=text, destination_place_id=text, destination_address=text,
        destination_name=text, background_image_url=text,
    )  # fmt: skip
    await name(db, ana, text.strip(), "")  # names are stored without white space at their ends
    await require_true(db, trip, ana)


async def test_a_card_writes_numbers_and_times_as_the_api_does(db: TripDb) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana, start_date=date(1999, 1, 1), end_date=date(2026, 12, 31))
    for number in NUMBERS:
        for microseconds in (0, 1, 120_000, 999_999):
            await db.run(
                """UPDATE trips
                   SET destination_latitude = :number::float8, destination_longitude = - :number::float8,
                       updated_at = :now::timestamptz WHERE id = :id::uuid""",
                id=trip, number=number, now=NOON + timedelta(microseconds=microseconds),
            )  # fmt: skip
            await require_true(db, trip, ana)


@pytest.mark.parametrize("day", [date.min, date(999, 2, 3), date(9999, 12, 30), date.max])
async def test_a_card_writes_the_ends_of_the_calendar_as_the_api_does(db: TripDb, day: date) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana, start_date=day, end_date=day)
    assert f'"endDate":"{day.isoformat()}T00:00:00Z"' in await require_true(db, trip, ana)


async def test_a_card_leaves_out_the_destination_and_the_creator_that_are_unknown(db: TripDb) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana, destination_name=None)
    await db.join(trip, ben, ana)
    await db.run("UPDATE trips SET created_by = NULL WHERE id = :id::uuid", id=trip)
    found = await require_true(db, trip, ana)
    assert not {"destinationName", "destinationAddress", "createdBy", "createdByName"} & set(found.split('"'))
    await db.run("UPDATE trips SET created_by = :ben::uuid WHERE id = :id::uuid", id=trip, ben=ben)
    await db.leave(trip, ben, ana)
    found = await require_true(db, trip, ana)
    assert str(ben) in found
    assert "createdByName" not in found


async def test_a_card_follows_every_write(db: TripDb) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    cards = [await require_true(db, trip, ana)]

    async def follows() -> None:
        cards.append(await require_true(db, trip, ana))
        assert cards[-1] != cards[-2]

    await db.join(trip, ben, ana)
    await follows()
    await change(db, trip, ana, name="Braga", start_date=date(2026, 11, 1))
    await follows()
    await change(db, trip, ana, status=Status.ACTIVE)
    await follows()
    await change(db, trip, ana, timezone="Asia/Kathmandu")
    await follows()
    await name(db, ben, "Benoît", "Okafor")
    await follows()
    await name(db, ben, "", "")
    await follows()
    await db.run("UPDATE user_profiles SET username = 'benoit' WHERE id = :id::uuid", id=ben)
    await follows()
    for role in (Role.ADMIN, Role.OWNER):
        await PostgresMembers(db.pool).change_role(
            Access(trip, ana, OWNER), ben, role, event_ids=(EventId(uuid7()), EventId(uuid7())), now=NOON
        )
        await follows()
    await db.run("DELETE FROM user_profiles WHERE id = :id::uuid", id=ben)
    await PostgresIntegrity(db.pool).correct_member_counts()
    await follows()


async def test_a_card_shows_no_address(db: TripDb) -> None:
    ana = await db.user("ana")
    assert "example.org" not in await card(db, await db.trip(ana), ana)


async def test_a_missing_card_is_made_when_it_is_read(db: TripDb) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    before = await card(db, trip, ana)
    await db.run("DELETE FROM trip_cards")
    assert await require_true(db, trip, ana) == before


async def test_a_card_of_the_largest_crew_with_the_longest_names_is_whole_on_every_driver(db: TripDb) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana, description="🏕" * 5_000)
    await db.run(
        """INSERT INTO user_profiles (id, email, username, first_name, last_name, created_at, updated_at)
           SELECT gen_random_uuid(), 'm' || n || '@example.org', 'member' || n, repeat('\U0001f3d5', 50),
                  repeat('"', 50), :now::timestamptz, :now::timestamptz FROM generate_series(1, 99) n""",
        now=NOON,
    )
    await db.run(
        """INSERT INTO trip_memberships (id, trip_id, user_id, role, status, created_at, updated_at, joined_at)
           SELECT gen_random_uuid(), :trip::uuid, p.id, 'MEMBER', 'ACTIVE', :now::timestamptz, :now::timestamptz,
                  :now::timestamptz FROM user_profiles p WHERE p.id <> :ana::uuid""",
        trip=trip, ana=ana, now=NOON,
    )  # fmt: skip
    await db.run("UPDATE trips SET member_count = 100 WHERE id = :trip::uuid", trip=trip)
    assert len((await require_true(db, trip, ana)).encode()) > 64 * 1024


async def test_an_untrue_card_is_found_and_corrected(db: TripDb) -> None:
    ana = await db.user("ana")
    true, untrue, missing = [await db.trip(ana) for _ in range(3)]
    await db.run("UPDATE trip_cards SET body = body || ' ' WHERE trip_id = :id::uuid", id=untrue)
    await db.run("DELETE FROM trip_cards WHERE trip_id = :id::uuid", id=missing)
    integrity = PostgresIntegrity(db.pool)
    faults = await integrity.find_faults(limit=10)
    assert [(fault.check, fault.subject) for fault in faults] == [("trip_card", untrue), ("trip_card", missing)]
    assert await integrity.renew_trip_cards() == 2
    assert await integrity.find_faults(limit=10) == []
    await require_true(db, true, ana)


@pytest_asyncio.fixture(loop_scope="session")
async def crowded(postgres: Postgres, template: str) -> AsyncIterator[TripDb]:
    """A database with as many connections as the tests have concurrent requests."""
    connect = await postgres.fresh_database(template)
    pool = Database(connect, size=20)
    yield TripDb(pool)
    await pool.close()
    await postgres.drop_database(connect)


async def test_a_card_has_the_new_name_of_a_member_who_joins_meanwhile(crowded: TripDb) -> None:
    ana, ben = await crowded.user("ana"), await crowded.user("ben")
    trip = await crowded.trip(ana)
    await crowded.consent(ben, ana)
    async with crowded.pool.transaction():
        await PostgresMembers(crowded.pool).add(
            Command(trip, ana, OWNER, EventId(uuid7()), NOON), ben, Role.MEMBER, membership_id=MembershipId(uuid7())
        )
        renaming = _outside(name(crowded, ben, "Benoît", "Okafor"))
        await asyncio.wait([renaming], timeout=0.2)
        assert not renaming.done()
    await renaming
    assert "Benoît Okafor" in await require_true(crowded, trip, ana)


async def test_a_card_has_both_of_two_concurrent_writes(crowded: TripDb) -> None:
    ana, ben = await crowded.user("ana"), await crowded.user("ben")
    trip = await crowded.trip(ana)
    await crowded.consent(ben, ana)
    async with crowded.pool.transaction():
        await name(crowded, ana, "Anaïs", "")
        joining = _outside(
            PostgresMembers(crowded.pool).add(
                Command(trip, ana, OWNER, EventId(uuid7()), NOON), ben, Role.MEMBER,
                membership_id=MembershipId(uuid7()),
            )
        )  # fmt: skip
        await asyncio.wait([joining], timeout=0.2)
        assert not joining.done()
    await joining
    found = await require_true(crowded, trip, ana)
    assert "Anaïs" in found
    assert str(ben) in found


async def test_joins_renames_and_changes_at_the_same_moment_leave_every_card_true(crowded: TripDb) -> None:
    people = [await crowded.user(f"person{number}") for number in range(6)]
    trips = [await crowded.trip(people[0]) for _ in range(4)]
    for person in people[1:]:
        await crowded.join(trips[0], person, people[0])
    for round_ in range(8):
        await asyncio.gather(
            *(crowded.join(trip, person, people[0]) for trip in trips[1:] for person in people[1:4]),
            *(name(crowded, person, f"Name {round_}", str(uuid4())) for person in people),
            *(change(crowded, trip, people[0], name=f"Round {round_}") for trip in trips),
        )
        assert await PostgresIntegrity(crowded.pool).find_faults(limit=5) == []
        await asyncio.gather(
            *(crowded.leave(trip, person, people[0]) for trip in trips[1:] for person in people[1:4]),
            *(name(crowded, person, "", "") for person in people),
        )
        assert await PostgresIntegrity(crowded.pool).find_faults(limit=5) == []


def _outside(work: Any) -> "asyncio.Task[None]":
    """A task outside of the transaction of this one."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())
