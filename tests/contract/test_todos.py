"""`Todos` over every driver."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from nomadcrew.adapters.postgres.todos import PostgresTodos
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import Forbidden, NotFound, NotTripMember
from nomadcrew.core.ids import EventId, TodoId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER, OWN_OR_ADMIN, Role
from nomadcrew.core.todos.model import Todo
from tests.contract.trip_database import TripDb
from tests.fakes import NOON


@pytest.fixture
def todos(db: TripDb) -> PostgresTodos:
    return PostgresTodos(db.pool)


async def add(
    todos: PostgresTodos,
    trip: TripId,
    by: UserId,
    text: str = "pack",
    at_s: int = 0,
    fingerprint: bytes | None = None,
) -> Todo:
    now = NOON + timedelta(seconds=at_s)
    todo = Todo(TodoId(uuid7()), trip, text, "INCOMPLETE", by, now, now)
    return await todos.add(todo, MEMBER, EventId(uuid7()), now=now, fingerprint=fingerprint or uuid7().bytes)


async def change(
    todos: PostgresTodos, todo: Todo, by: UserId, text: str | None = None, status: str | None = None
) -> Todo:
    return await todos.change(
        Command(todo.trip_id, by, OWN_OR_ADMIN, EventId(uuid7()), NOON + timedelta(hours=1)),
        todo.id,
        text=text,
        status=status,
    )


async def test_a_to_do_is_read_back_and_published_with_its_times(db: TripDb, todos: PostgresTodos) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    todo = await add(todos, trip, ana)
    assert await todos.get(Access(trip, ana, MEMBER), todo.id) == todo
    event = (await db.events())[-1]
    assert event["type"] == "TODO_CREATED"
    assert event["payload"] == {
        "id": str(todo.id), "tripId": str(trip), "text": "pack", "status": "INCOMPLETE", "createdBy": str(ana),
        "createdAt": "2026-07-01T12:00:00.000000Z", "updatedAt": "2026-07-01T12:00:00.000000Z",
    }  # fmt: skip


async def test_repeats_return_the_first_to_do_until_it_is_deleted(db: TripDb, todos: PostgresTodos) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    first, *others = await asyncio.gather(*(add(todos, trip, ana, fingerprint=b"f") for _ in range(6)))
    assert {todo.id for todo in others} == {first.id}
    await todos.delete(Command(trip, ana, OWN_OR_ADMIN, EventId(uuid7()), NOON), first.id)
    assert (await add(todos, trip, ana, fingerprint=b"f")).id != first.id
    assert (await todos.page(Access(trip, ana, MEMBER), limit=10, offset=0)).total == 1


async def test_pages_are_newest_first_and_have_the_total(db: TripDb, todos: PostgresTodos) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    made = [await add(todos, trip, ana, text=str(n), at_s=n) for n in range(5)]
    page = await todos.page(Access(trip, ana, MEMBER), limit=2, offset=1)
    assert ([todo.text for todo in page.items], page.total) == (["3", "2"], 5)
    beyond = await todos.page(Access(trip, ana, MEMBER), limit=2, offset=9)
    assert (beyond.items, beyond.total) == ([], len(made))


async def test_members_change_their_own_to_dos_and_admins_all(db: TripDb, todos: PostgresTodos) -> None:
    ana, ben, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana, Role.ADMIN)
    await db.join(trip, eve, ana)
    bens, eves = await add(todos, trip, ben), await add(todos, trip, eve)
    assert (await change(todos, eves, eve, text="unpack")).text == "unpack"
    assert (await change(todos, eves, ben, status="COMPLETE")).status == "COMPLETE"
    with pytest.raises(Forbidden):
        await change(todos, bens, eve, text="mine now")
    with pytest.raises(Forbidden):
        await todos.delete(Command(trip, eve, OWN_OR_ADMIN, EventId(uuid7()), NOON), bens.id)
    await todos.delete(Command(trip, ben, OWN_OR_ADMIN, EventId(uuid7()), NOON), eves.id)


async def test_a_change_without_effect_publishes_nothing(db: TripDb, todos: PostgresTodos) -> None:
    ana = await db.user("ana")
    todo = await add(todos, await db.trip(ana), ana)
    before = len(await db.events())
    assert await change(todos, todo, ana) == todo
    assert await change(todos, todo, ana, status="INCOMPLETE", text="pack") == todo
    assert len(await db.events()) == before


async def test_a_to_do_is_found_on_its_own_trip_only(db: TripDb, todos: PostgresTodos) -> None:
    ana = await db.user("ana")
    here, there = await db.trip(ana), await db.trip(ana)
    todo = await add(todos, here, ana)
    for trip, todo_id in ((there, todo.id), (here, TodoId(uuid4()))):
        with pytest.raises(NotFound):
            await todos.get(Access(trip, ana, MEMBER), todo_id)
        with pytest.raises(NotFound):
            await todos.delete(Command(trip, ana, OWN_OR_ADMIN, EventId(uuid7()), NOON), todo_id)


async def test_outsiders_and_former_members_see_nothing(db: TripDb, todos: PostgresTodos) -> None:
    ana, ben, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    await db.leave(trip, ben, ana)
    todo = await add(todos, trip, ana)
    for outsider in (ben, eve):
        with pytest.raises(NotTripMember):
            await todos.page(Access(trip, outsider, MEMBER), limit=10, offset=0)
        with pytest.raises(NotTripMember):
            await add(todos, trip, outsider)
        with pytest.raises(NotTripMember):
            await change(todos, todo, outsider, text="x")
