"""`ChangeLog` over every driver."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import timedelta

import pytest
from msgspec.structs import replace

from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.adapters.postgres.retention import PostgresRetention
from nomadcrew.adapters.postgres.sync import PostgresChangeLog
from nomadcrew.adapters.postgres.todos import PostgresTodos
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import NotOnboarded
from nomadcrew.core.ids import EventId, TodoId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER, OWN_OR_ADMIN, OWNER, Role
from nomadcrew.core.retention import TOMBSTONE_RETENTION
from nomadcrew.core.sync import service
from nomadcrew.core.sync.cursors import BadCursor, Cursor
from nomadcrew.core.sync.model import Change, ChangePage, CursorExpired, Kind
from nomadcrew.core.todos.model import Todo, TodoChange
from tests.contract.trip_database import TripDb
from tests.fakes import NOON

INVITE = """INSERT INTO trip_invitations (id, trip_id, inviter_id, invitee_email, role, status, expires_at,
                                          mailed_at, mail_event_id, created_at, updated_at)
            VALUES (:id::uuid, :trip_id::uuid, :inviter::uuid, :email::text, 'MEMBER', 'PENDING',
                    :now::timestamptz + interval '7 days', :now::timestamptz, :id::uuid, :now::timestamptz,
                    :now::timestamptz)"""


@pytest.fixture
def log(db: TripDb) -> PostgresChangeLog:
    return PostgresChangeLog(db.pool)


async def page(
    log: PostgresChangeLog, by: UserId, since: Cursor | None, *, limit: int = 100, at_days: int = 0,
    trips: Sequence[TripId] | None = None,
) -> ChangePage:  # fmt: skip
    now = NOON + timedelta(days=at_days)
    return await service.changes_since(since, trips, by, changes=log, limit=limit, now=now)


async def run(
    log: PostgresChangeLog, by: UserId, since: Cursor | None, *, limit: int = 100,
    trips: Sequence[TripId] | None = None,
) -> tuple[list[Change], Cursor]:  # fmt: skip
    """All pages up to now."""
    changes: list[Change] = []
    while True:
        got = await page(log, by, since, limit=limit, trips=trips)
        changes += got.changes
        since = got.cursor
        if not got.has_more:
            return changes, since


async def add(db: TripDb, trip: TripId, by: UserId, text: str = "pack") -> Todo:
    todo = Todo(TodoId(uuid7()), trip, text, "INCOMPLETE", by, NOON, NOON, None, None, None)
    todos = PostgresTodos(db.pool)
    return await todos.add(todo, MEMBER, EventId(uuid7()), now=NOON, fingerprint=uuid7().bytes)


async def delete(db: TripDb, todo: Todo, by: UserId) -> None:
    command = Command(todo.trip_id, by, OWN_OR_ADMIN, EventId(uuid7()), NOON)
    await PostgresTodos(db.pool).delete(command, todo.id)


async def set_role(db: TripDb, trip: TripId, user: UserId, role: Role, by: UserId) -> None:
    events = (EventId(uuid7()), EventId(uuid7()))
    await PostgresMembers(db.pool).change_role(Access(trip, by, OWNER), user, role, event_ids=events, now=NOON)


def todos_in(changes: Collection[Change]) -> list[str]:
    return sorted(change.entity.text for change in changes if isinstance(change.entity, Todo))


def kinds(changes: Collection[Change]) -> set[tuple[Kind, bool]]:
    return {(change.kind, change.entity is None) for change in changes}


async def test_each_change_comes_once_as_it_is_now(db: TripDb, log: PostgresChangeLog) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    _, cursor = await run(log, ana, None)
    todo = await add(db, trip, ana)
    change = TodoChange(text="pack the tent")
    await PostgresTodos(db.pool).change(
        Command(trip, ana, OWN_OR_ADMIN, EventId(uuid7()), NOON + timedelta(hours=1)), todo.id, change
    )
    changes, cursor = await run(log, ana, cursor)
    assert [(one.kind, one.id, one.trip_id) for one in changes] == [(Kind.TODO, todo.id, trip)]
    assert todos_in(changes) == ["pack the tent"]
    assert (await run(log, ana, cursor))[0] == []


async def test_a_change_that_is_committed_late_is_not_missed(db: TripDb, log: PostgresChangeLog) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    written, read = asyncio.Event(), asyncio.Event()

    async def write_slowly() -> None:
        async with db.pool.transaction():
            await add(db, trip, ana, "late")
            written.set()
            await read.wait()

    late = asyncio.create_task(write_slowly())
    await written.wait()
    await add(db, trip, ana, "early")
    changes, cursor = await run(log, ana, None)
    read.set()
    await late
    assert todos_in(changes) == ["early"]
    changes, _ = await run(log, ana, cursor)
    assert todos_in(changes) == ["late"]


async def test_pages_have_every_change_of_one_transaction_once(db: TripDb, log: PostgresChangeLog) -> None:
    ana = await db.user("ana")
    trip, other = await db.trip(ana), await db.trip(ana)
    async with db.pool.transaction():
        for n in range(5):
            await add(db, trip, ana, f"here {n}")
            await add(db, other, ana, f"there {n}")
    changes, _ = await run(log, ana, None, limit=3)
    assert todos_in(changes) == [f"{place} {n}" for place in ("here", "there") for n in range(5)]
    assert len({(one.kind, one.id, one.trip_id) for one in changes}) == len(changes)


async def test_a_change_during_a_run_of_pages_comes_in_the_next_run(db: TripDb, log: PostgresChangeLog) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    todos = [await add(db, trip, ana, str(n)) for n in range(4)]
    first = await page(log, ana, None, limit=1)
    await db.join(trip, ben, ana)
    later = await db.trip(ana)
    await add(db, later, ana, "on a new trip")
    await delete(db, todos[0], ana)
    rest = first
    while rest.cursor.last is not None:
        rest = await page(log, ana, rest.cursor, limit=1)
        assert "on a new trip" not in todos_in(rest.changes)
    assert rest.has_more  # since the run began
    changes, _ = await run(log, ana, rest.cursor)
    assert todos_in(changes) == ["on a new trip"]
    assert {(Kind.TODO, True), (Kind.MEMBER, False), (Kind.TRIP, False)} <= kinds(changes)


async def test_a_trip_that_was_left_is_one_tombstone_and_a_joined_one_comes_whole(
    db: TripDb, log: PostgresChangeLog
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await add(db, trip, ana, "before")
    _, cursor = await run(log, ben, None)
    await db.join(trip, ben, ana)
    changes, cursor = await run(log, ben, cursor)
    assert todos_in(changes) == ["before"]
    assert {(Kind.TRIP, False), (Kind.MEMBER, False), (Kind.TODO, False)} <= kinds(changes)
    await db.leave(trip, ben, ana)
    gone = await add(db, trip, ana, "without ben")
    changes, left = await run(log, ben, cursor)
    assert [(one.kind, one.id, one.entity) for one in changes] == [(Kind.TRIP, trip, None)]
    await delete(db, gone, ana)
    await db.join(trip, ben, ana)
    for since in (cursor, left):
        changes, _ = await run(log, ben, since)
        assert todos_in(changes) == ["before"]
        assert gone.id in {one.id for one in changes if one.entity is None}


async def test_a_deleted_trip_is_a_tombstone_for_each_member(db: TripDb, log: PostgresChangeLog) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    cursors = {user: (await run(log, user, None))[1] for user in (ana, ben)}
    await db.run("UPDATE trips SET deleted_at = :now::timestamptz WHERE id = :id::uuid", now=NOON, id=trip)
    for user, cursor in cursors.items():
        changes, _ = await run(log, user, cursor)
        assert [(one.kind, one.id, one.entity) for one in changes] == [(Kind.TRIP, trip, None)]
    assert kinds((await run(log, ana, None))[0]) == {(Kind.PROFILE, False), (Kind.PREFERENCES, False)}


async def test_another_role_shows_all_invitations_or_their_tombstones(db: TripDb, log: PostgresChangeLog) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    _, cursor = await run(log, ben, None)
    invitations = [uuid7(), uuid7()]
    for id_ in invitations:
        await db.run(INVITE, id=id_, trip_id=trip, inviter=ana, email=f"{id_}@example.org", now=NOON)
    changes, cursor = await run(log, ben, cursor)
    assert changes == []
    await set_role(db, trip, ben, Role.ADMIN, ana)
    changes, cursor = await run(log, ben, cursor, limit=1)
    assert {one.id for one in changes if one.kind is Kind.INVITATION and one.entity} == {*invitations}
    await set_role(db, trip, ben, Role.MEMBER, ana)
    await db.run("UPDATE trip_invitations SET status = 'DECLINED' WHERE id = :id::uuid", id=invitations[0])
    changes, cursor = await run(log, ben, cursor, limit=1)
    assert {one.id for one in changes if one.kind is Kind.INVITATION and not one.entity} == {*invitations}
    assert (await run(log, ben, cursor))[0] == []


async def test_other_trips_are_left_out(db: TripDb, log: PostgresChangeLog) -> None:
    ana = await db.user("ana")
    trip, other = await db.trip(ana), await db.trip(ana)
    await add(db, other, ana)
    changes, cursor = await run(log, ana, None, trips=[trip])
    assert {one.trip_id for one in changes} == {trip, None}
    await db.run("UPDATE trips SET deleted_at = :now::timestamptz", now=NOON)
    changes, _ = await run(log, ana, cursor, trips=[trip])
    assert [(one.kind, one.id) for one in changes] == [(Kind.TRIP, trip)]
    for trips in (None, [other], [trip, other]):
        with pytest.raises(BadCursor):
            await page(log, ana, cursor, trips=trips)


async def test_a_user_without_a_profile_is_refused(log: PostgresChangeLog) -> None:
    with pytest.raises(NotOnboarded):
        await page(log, UserId(uuid7()), None)


async def test_tombstones_end_and_so_do_the_cursors_that_need_them(db: TripDb, log: PostgresChangeLog) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    todo = await add(db, trip, ana)
    _, cursor = await run(log, ana, None)
    await delete(db, todo, ana)
    await db.run("UPDATE sync_changes SET deleted_at = :now::timestamptz WHERE deleted_at IS NOT NULL", now=NOON)
    retention = PostgresRetention(db.pool)
    last_day = TOMBSTONE_RETENTION.days - 1
    assert await retention.delete_tombstones(NOON + TOMBSTONE_RETENTION) == 0
    assert kinds((await page(log, ana, cursor, at_days=last_day)).changes) == {(Kind.TODO, True)}
    assert await retention.delete_tombstones(NOON + TOMBSTONE_RETENTION + timedelta(days=2)) == 1
    with pytest.raises(CursorExpired):
        await page(log, ana, cursor, at_days=TOMBSTONE_RETENTION.days)
    half = await page(log, ana, None, limit=1)
    with pytest.raises(CursorExpired):
        await page(log, ana, half.cursor, at_days=TOMBSTONE_RETENTION.days)


async def test_a_restored_database_ends_every_cursor(db: TripDb, log: PostgresChangeLog) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    await add(db, trip, ana)
    changes, cursor = await run(log, ana, None)
    await db.run("SELECT renew_sync_epoch()")
    with pytest.raises(CursorExpired):
        await page(log, ana, cursor)
    again, cursor = await run(log, ana, None)
    assert {(one.kind, one.id) for one in again} == {(one.kind, one.id) for one in changes}
    ahead = 10**12  # a number of a transaction that this database has not begun
    with pytest.raises(CursorExpired):
        await page(log, ana, replace(cursor, base=f"{ahead}:{ahead}:"))


async def test_a_long_entity_ends_a_page_early(db: TripDb, log: PostgresChangeLog) -> None:
    ana = await db.user("ana")
    for n in range(3):
        await db.run(
            """INSERT INTO notifications (id, user_id, type, metadata, created_at, updated_at)
               VALUES (:id::uuid, :user_id::uuid, 'TODO_ASSIGNED', jsonb_build_object('text', repeat('é', 150000)),
                       :now::timestamptz, :now::timestamptz)""",
            id=uuid7(), user_id=ana, now=NOON + timedelta(seconds=n),
        )  # fmt: skip
    got = await page(log, ana, None)
    assert got.has_more
    changes, _ = await run(log, ana, None)
    assert [one.kind for one in changes].count(Kind.NOTIFICATION) == 3
