"""Writes of to-dos that share a statement: each has the effect and the verdict that it has alone."""

import asyncio
import random
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec import UNSET

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.adapters.postgres.todos import PostgresTodos
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import Forbidden, NotFound, NotTripMember
from nomadcrew.core.ids import EventId, TodoId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER, OWN_OR_ADMIN
from nomadcrew.core.todos.model import Todo, TodoChange, TodoStatus
from tests.contract.trip_database import TripDb
from tests.counting_sql import CountingSql
from tests.fakes import NOON

_OFF = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {} = off', current_database()); END $$"
EDITED = NOON + timedelta(hours=1)


class Batches:
    """A trip of ana and ben, and to-dos whose statements are counted."""

    def __init__(self, db: TripDb, trip: TripId, ana: UserId, ben: UserId) -> None:
        self.db, self.trip, self.ana, self.ben = db, trip, ana, ben
        self.sql = CountingSql(db.pool)
        self.todos = PostgresTodos(self.sql)

    async def add(self, text: str = "pack", *, by: UserId | None = None, fingerprint: bytes | None = None) -> Todo:
        by = by or self.ana
        todo = Todo(TodoId(uuid7()), self.trip, text, TodoStatus.INCOMPLETE, by, NOON, NOON)
        return await self.todos.add(
            todo, MEMBER, EventId(uuid7()), now=NOON, fingerprint=fingerprint or uuid7().bytes
        )

    async def change(
        self, todo: Todo, *, by: UserId | None = None, text: str | None = None, status: TodoStatus | None = None
    ) -> Todo:
        change = TodoChange(UNSET if text is None else text, UNSET if status is None else status)
        return await self.todos.change(self.command(by), todo.id, change)

    async def delete(self, todo: Todo, *, by: UserId | None = None) -> None:
        await self.todos.delete(self.command(by), todo.id)

    def command(self, by: UserId | None = None) -> Command:
        return Command(self.trip, by or self.ana, OWN_OR_ADMIN, EventId(uuid7()), EDITED)

    async def outcomes(self, *calls: Awaitable[object]) -> Sequence[Any]:
        """The results of concurrent calls, which share a batch."""
        self.sql.statements.clear()
        return await asyncio.gather(*calls, return_exceptions=True)

    async def texts(self) -> set[str]:
        page = await self.todos.page(Access(self.trip, self.ana, MEMBER), limit=100)
        return {todo.text for todo in page.items}

    async def changes(self, todo: Todo) -> list[tuple[str, str, str]]:
        """Text, status and previous status in the events of a to-do's changes."""
        return [
            (event["payload"]["text"], event["payload"]["status"], event["payload"]["previousStatus"])
            for event in await self.db.events()
            if event["type"] == "TODO_UPDATED" and event["payload"]["id"] == str(todo.id)
        ]


async def prepare(db: TripDb) -> Batches:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    return Batches(db, trip, ana, ben)


async def test_concurrent_additions_share_a_statement_and_keep_their_order(db: TripDb) -> None:
    here = await prepare(db)
    await here.outcomes(*(here.add(str(n)) for n in range(6)))
    assert here.sql.statements == ["add"]
    created = [event["payload"]["text"] for event in await db.events() if event["type"] == "TODO_CREATED"]
    assert created == [str(n) for n in range(6)]


async def test_an_outsider_is_refused_beside_members(db: TripDb) -> None:
    here = await prepare(db)
    eve = await db.user("eve")
    outcomes = await here.outcomes(
        here.add("first"), here.add("ana's"), here.add("eve's", by=eve), here.add("ben's", by=here.ben)
    )
    assert [type(outcome) for outcome in outcomes] == [Todo, Todo, NotTripMember, Todo]
    assert await here.texts() == {"first", "ana's", "ben's"}


async def test_a_repeat_beside_its_request_returns_the_same_to_do(db: TripDb) -> None:
    here = await prepare(db)
    _, one, other, repeat = await here.outcomes(
        here.add("first"),
        here.add(fingerprint=b"f"),
        here.add("other", fingerprint=b"o"),
        here.add(fingerprint=b"f"),
    )
    assert repeat == one
    assert other.id != one.id
    assert len([event for event in await db.events() if event["type"] == "TODO_CREATED"]) == 3


async def test_changes_of_one_to_do_act_one_after_the_other(db: TripDb) -> None:
    here = await prepare(db)
    first, todo, other = await here.add(), await here.add(), await here.add()
    outcomes = await here.outcomes(
        here.change(first, text="first"),
        here.change(todo, text="unpack"),
        here.change(todo, status=TodoStatus.COMPLETE),
        here.change(other, text="other"),
        here.change(todo, status=TodoStatus.INCOMPLETE),
    )
    assert here.sql.statements == ["change"] * 3
    assert [(changed.text, changed.status) for changed in outcomes] == [
        ("first", "INCOMPLETE"), ("unpack", "INCOMPLETE"), ("unpack", "COMPLETE"), ("other", "INCOMPLETE"),
        ("unpack", "INCOMPLETE"),
    ]  # fmt: skip
    assert await here.changes(todo) == [
        ("unpack", "INCOMPLETE", "INCOMPLETE"), ("unpack", "COMPLETE", "INCOMPLETE"),
        ("unpack", "INCOMPLETE", "COMPLETE"),
    ]  # fmt: skip


async def test_a_refused_change_stands_beside_accepted_ones(db: TripDb) -> None:
    here = await prepare(db)
    eve = await db.user("eve")
    first, anas, bens = await here.add(), await here.add(), await here.add(by=here.ben)
    missing = Todo(TodoId(uuid7()), here.trip, "", "", here.ana, NOON, NOON)
    outcomes = await here.outcomes(
        here.change(first, text="first"),
        here.change(missing, text="missing"),
        here.change(anas, by=here.ben, text="not mine"),
        here.change(bens, by=here.ben, text="mine"),
        here.change(first, by=eve, text="outside"),
        here.change(anas, text="pack"),
    )
    assert [type(outcome) for outcome in outcomes] == [Todo, NotFound, Forbidden, Todo, NotTripMember, Todo]
    assert await here.texts() == {"first", "pack", "mine"}
    assert outcomes[-1] == anas
    assert await here.changes(anas) == []


async def test_a_to_do_is_deleted_once(db: TripDb) -> None:
    here = await prepare(db)
    first, todo = await here.add("first"), await here.add(fingerprint=b"f")
    bens = await here.add("ben's", by=here.ben)
    outcomes = await here.outcomes(
        here.delete(first), here.delete(todo), here.delete(todo), here.delete(bens, by=here.ben),
        here.delete(bens),
    )  # fmt: skip
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), NotFound, type(None), NotFound]
    deleted = [event for event in await db.events() if event["type"] == "TODO_DELETED"]
    assert [event["payload"] for event in deleted] == [{"id": str(each.id)} for each in (first, todo, bens)]
    assert (await here.add(fingerprint=b"f")).id != todo.id


@pytest.mark.parametrize("round_", range(3))
async def test_batches_of_several_processes_never_deadlock(pool: Database, round_: int) -> None:
    # With a small table the planner would read it in one order whatever the statement says.
    for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin"):
        await pool.fetch(compile_statement(setting, _OFF.format(setting)))
    await pool.close()
    here = await prepare(TripDb(pool))
    todos = [await here.add(fingerprint=b"%d" % n) for n in range(12)]
    others = [Batches(here.db, here.trip, here.ana, here.ben) for _ in range(4)]

    async def work(process: Batches, seed: int) -> list[object]:
        shuffled = random.Random(seed).sample(todos, len(todos))
        return await asyncio.gather(
            *(process.change(todo, text=f"{seed}") for todo in shuffled),
            *(process.add(fingerprint=b"%d" % todos.index(todo)) for todo in reversed(shuffled)),
            *(process.delete(todo) for todo in shuffled[::2]),
            return_exceptions=True,
        )

    results = await asyncio.gather(*(work(each, 10 * round_ + seed) for seed, each in enumerate(others)))
    failures = [outcome for result in results for outcome in result if isinstance(outcome, Exception)]
    assert {type(failure) for failure in failures} <= {NotFound}
