"""What `Todos` promises."""

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
from tests.contract.crew import Crew
from tests.fakes import NOON


@pytest.fixture
def todos(crew: Crew) -> PostgresTodos:
    return PostgresTodos(crew.pool)


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


async def test_what_was_added_is_read_back_and_told_with_real_times(crew: Crew, todos: PostgresTodos) -> None:
    ana = await crew.person("ana")
    trip = await crew.trip(ana)
    todo = await add(todos, trip, ana)
    assert await todos.get(Access(trip, ana, MEMBER), todo.id) == todo
    event = (await crew.events())[-1]
    assert event["type"] == "TODO_CREATED"
    assert event["payload"] == {
        "id": str(todo.id), "tripId": str(trip), "text": "pack", "status": "INCOMPLETE", "createdBy": str(ana),
        "createdAt": "2026-07-01T12:00:00.000000Z", "updatedAt": "2026-07-01T12:00:00.000000Z",
    }  # fmt: skip


async def test_repeats_are_the_first_todo_until_it_is_deleted(crew: Crew, todos: PostgresTodos) -> None:
    ana = await crew.person("ana")
    trip = await crew.trip(ana)
    first, *others = await asyncio.gather(*(add(todos, trip, ana, fingerprint=b"f") for _ in range(6)))
    assert {todo.id for todo in others} == {first.id}
    await todos.delete(Command(trip, ana, OWN_OR_ADMIN, EventId(uuid7()), NOON), first.id)
    assert (await add(todos, trip, ana, fingerprint=b"f")).id != first.id
    assert (await todos.page(Access(trip, ana, MEMBER), limit=10, offset=0)).total == 1


async def test_pages_are_newest_first_and_count_everything(crew: Crew, todos: PostgresTodos) -> None:
    ana = await crew.person("ana")
    trip = await crew.trip(ana)
    made = [await add(todos, trip, ana, text=str(n), at_s=n) for n in range(5)]
    page = await todos.page(Access(trip, ana, MEMBER), limit=2, offset=1)
    assert ([todo.text for todo in page.items], page.total) == (["3", "2"], 5)
    beyond = await todos.page(Access(trip, ana, MEMBER), limit=2, offset=9)
    assert (beyond.items, beyond.total) == ([], len(made))


async def test_members_change_their_own_and_admins_everybodys(crew: Crew, todos: PostgresTodos) -> None:
    ana, ben, eve = await crew.person("ana"), await crew.person("ben"), await crew.person("eve")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana, Role.ADMIN)
    await crew.join(trip, eve, ana)
    bens, eves = await add(todos, trip, ben), await add(todos, trip, eve)
    assert (await change(todos, eves, eve, text="unpack")).text == "unpack"
    assert (await change(todos, eves, ben, status="COMPLETE")).status == "COMPLETE"
    with pytest.raises(Forbidden):
        await change(todos, bens, eve, text="mine now")
    with pytest.raises(Forbidden):
        await todos.delete(Command(trip, eve, OWN_OR_ADMIN, EventId(uuid7()), NOON), bens.id)
    await todos.delete(Command(trip, ben, OWN_OR_ADMIN, EventId(uuid7()), NOON), eves.id)


async def test_a_change_that_changes_nothing_tells_nobody(crew: Crew, todos: PostgresTodos) -> None:
    ana = await crew.person("ana")
    todo = await add(todos, await crew.trip(ana), ana)
    before = len(await crew.events())
    assert await change(todos, todo, ana) == todo
    assert await change(todos, todo, ana, status="INCOMPLETE", text="pack") == todo
    assert len(await crew.events()) == before


async def test_a_todo_is_found_on_its_own_trip_only(crew: Crew, todos: PostgresTodos) -> None:
    ana = await crew.person("ana")
    here, there = await crew.trip(ana), await crew.trip(ana)
    todo = await add(todos, here, ana)
    for trip, todo_id in ((there, todo.id), (here, TodoId(uuid4()))):
        with pytest.raises(NotFound):
            await todos.get(Access(trip, ana, MEMBER), todo_id)
        with pytest.raises(NotFound):
            await todos.delete(Command(trip, ana, OWN_OR_ADMIN, EventId(uuid7()), NOON), todo_id)


async def test_outsiders_and_former_members_see_nothing(crew: Crew, todos: PostgresTodos) -> None:
    ana, ben, eve = await crew.person("ana"), await crew.person("ben"), await crew.person("eve")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana)
    await crew.leave(trip, ben, ana)
    todo = await add(todos, trip, ana)
    for stranger in (ben, eve):
        with pytest.raises(NotTripMember):
            await todos.page(Access(trip, stranger, MEMBER), limit=10, offset=0)
        with pytest.raises(NotTripMember):
            await add(todos, trip, stranger)
        with pytest.raises(NotTripMember):
            await change(todos, todo, stranger, text="x")
