"""`Todos` over every driver."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from nomadcrew.adapters.postgres.todos import PostgresTodos
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import Forbidden, NotFound, NotTripMember
from nomadcrew.core.ids import EventId, TodoId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER, OWN_OR_ADMIN, OWNER, Role
from nomadcrew.core.todos.model import AssigneeNotMember, Todo, TodoChange, TodoStatus
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
    assignee: UserId | None = None,
    due_at: datetime | None = None,
    position: float | None = None,
) -> Todo:
    now = NOON + timedelta(seconds=at_s)
    todo = Todo(TodoId(uuid7()), trip, text, "INCOMPLETE", by, now, now, assignee, due_at, position)
    return await todos.add(todo, MEMBER, EventId(uuid7()), now=now, fingerprint=fingerprint or uuid7().bytes)


async def change(todos: PostgresTodos, todo: Todo, by: UserId, **fields: Any) -> Todo:
    command = Command(todo.trip_id, by, OWN_OR_ADMIN, EventId(uuid7()), NOON + timedelta(hours=1))
    return await todos.change(command, todo.id, TodoChange(**fields))


@pytest.mark.contract("rest-activity.todos.get", "rest-activity.todos.fix-times")
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


@pytest.mark.contract("rest-activity.todos.list")
async def test_pages_are_newest_first_and_have_the_total(db: TripDb, todos: PostgresTodos) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    made = [await add(todos, trip, ana, text=str(n), at_s=n) for n in range(5)]
    page = await todos.page(Access(trip, ana, MEMBER), limit=2, offset=1)
    assert ([todo.text for todo in page.items], page.total) == (["3", "2"], 5)
    beyond = await todos.page(Access(trip, ana, MEMBER), limit=2, offset=9)
    assert (beyond.items, beyond.total) == ([], len(made))


@pytest.mark.contract("permissions.todo.update-delete")
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


@pytest.mark.contract("rest-activity.todos.change")
async def test_a_change_without_effect_publishes_nothing(db: TripDb, todos: PostgresTodos) -> None:
    ana = await db.user("ana")
    todo = await add(todos, await db.trip(ana), ana)
    before = len(await db.events())
    assert await change(todos, todo, ana) == todo
    assert await change(todos, todo, ana, status="INCOMPLETE", text="pack") == todo
    assert len(await db.events()) == before


@pytest.mark.contract("rest-activity.todos.fix-404")
async def test_a_to_do_is_found_on_its_own_trip_only(db: TripDb, todos: PostgresTodos) -> None:
    ana = await db.user("ana")
    here, there = await db.trip(ana), await db.trip(ana)
    todo = await add(todos, here, ana)
    for trip, todo_id in ((there, todo.id), (here, TodoId(uuid4()))):
        with pytest.raises(NotFound):
            await todos.get(Access(trip, ana, MEMBER), todo_id)
        with pytest.raises(NotFound):
            await todos.delete(Command(trip, ana, OWN_OR_ADMIN, EventId(uuid7()), NOON), todo_id)


async def test_a_to_do_with_a_plan_is_read_back_and_published(db: TripDb, todos: PostgresTodos) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    plan = {"assignee_id": ben, "due_at": NOON + timedelta(days=2), "position": 1.5}
    new = await add(todos, trip, ana, assignee=ben, due_at=NOON + timedelta(days=2), position=1.5)
    later = await change(todos, await add(todos, trip, ana, at_s=-1), ana, **plan)
    assert (later.assignee_id, later.due_at, later.position) == (ben, NOON + timedelta(days=2), 1.5)
    assert await todos.get(Access(trip, ana, MEMBER), new.id) == new
    assert (await todos.page(Access(trip, ana, MEMBER), limit=10)).items == [new, later]
    published = {"assigneeId": str(ben), "dueAt": "2026-07-03T12:00:00.000000Z", "position": 1.5}
    for event in (await db.events())[-4:]:
        is_addition_without_plan = event["type"] == "TODO_CREATED" and event["payload"]["id"] == str(later.id)
        assert (event["payload"].items() >= published.items()) is not is_addition_without_plan


async def test_null_removes_the_plan_and_other_changes_leave_it(db: TripDb, todos: PostgresTodos) -> None:
    ana = await db.user("ana")
    todo = await add(todos, await db.trip(ana), ana, assignee=ana, due_at=NOON, position=-3)
    kept = await change(todos, todo, ana, text="pack light")
    assert (kept.text, kept.assignee_id, kept.due_at, kept.position) == ("pack light", ana, NOON, -3)
    bare = await change(todos, todo, ana, assignee_id=None, due_at=None, position=None)
    assert (bare.assignee_id, bare.due_at, bare.position) == (None, None, None)
    assert {"assigneeId", "dueAt", "position"}.isdisjoint((await db.events())[-1]["payload"])


async def test_only_a_member_can_be_assigned(db: TripDb, todos: PostgresTodos) -> None:
    ana, ben, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    await db.leave(trip, ben, ana)
    todo = await add(todos, trip, ana)
    before = len(await db.events())
    for outsider in (ben, eve, UserId(uuid4())):
        with pytest.raises(AssigneeNotMember):
            await add(todos, trip, ana, assignee=outsider)
        with pytest.raises(AssigneeNotMember):
            await change(todos, todo, ana, assignee_id=outsider)
    assert len(await db.events()) == before


async def test_a_member_who_left_is_no_assignee_until_back(db: TripDb, todos: PostgresTodos) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    todo = await add(todos, trip, ana, assignee=ben)
    await db.leave(trip, ben, ana)
    access = Access(trip, ana, MEMBER)
    assert (await todos.get(access, todo.id)).assignee_id is None
    assert [item.assignee_id for item in (await todos.page(access, limit=10)).items] == [None]
    await db.join(trip, ben, ana)
    assert (await todos.get(access, todo.id)).assignee_id == ben


async def test_each_new_assignment_by_another_member_is_an_event(db: TripDb, todos: PostgresTodos) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    todo = await add(todos, trip, ana, assignee=ana)
    await change(todos, todo, ana, assignee_id=ben)
    await change(todos, todo, ana, assignee_id=ben, text="pack light")
    await change(todos, todo, ana, assignee_id=ana)
    await add(todos, trip, ana, assignee=ben)
    assigned = [event for event in await db.events() if event["type"] == "todo.assigned"]
    assert [(event["audience"], event["payload"]["assigneeId"]) for event in assigned] == [
        ("internal", str(ben))
    ] * 2


async def test_each_due_time_of_an_incomplete_to_do_is_announced_once(db: TripDb, todos: PostgresTodos) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    soon, later = NOON + timedelta(hours=20), NOON + timedelta(days=3)
    todo = await add(todos, trip, ana, due_at=soon)
    done = await add(todos, trip, ana, due_at=soon)
    gone = await add(todos, trip, ana, due_at=soon)
    await change(todos, done, ana, status=TodoStatus.COMPLETE)
    await todos.delete(Command(trip, ana, OWN_OR_ADMIN, EventId(uuid7()), NOON), gone.id)
    for due_at in (None, later, NOON - timedelta(seconds=1)):
        await add(todos, trip, ana, due_at=due_at)
    assert [await todos.remind(now=NOON, limit=10) for _ in range(2)] == [1, 0]
    await change(todos, todo, ana, due_at=later)
    assert await todos.remind(now=later - timedelta(hours=1), limit=1) == 1
    assert await todos.remind(now=later - timedelta(hours=1), limit=10) == 1
    announced = [event["payload"]["id"] for event in await db.events() if event["type"] == "todo.due"]
    assert (announced[0], announced.count(str(todo.id)), len(announced)) == (str(todo.id), 2, 3)


async def test_to_dos_of_a_deleted_trip_are_not_announced(db: TripDb, todos: PostgresTodos) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    await add(todos, trip, ana, due_at=NOON + timedelta(hours=1))
    await PostgresTrips(db.pool).delete(Command(trip, ana, OWNER, EventId(uuid7()), NOON))
    assert await todos.remind(now=NOON, limit=10) == 0


@pytest.mark.contract("permissions.active-only")
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
