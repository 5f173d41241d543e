"""To-dos on PostgreSQL: concurrent writes of a kind share a statement."""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter

from msgspec import UNSET, Struct

from nomadcrew.adapters.postgres.batching import Batcher
from nomadcrew.adapters.postgres.refusals import Refusals, raise_for_verdict, refusal
from nomadcrew.adapters.postgres.sql import Row, Sql, after_columns, command_row, gate, json_param, statements
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import DomainError
from nomadcrew.core.ids import EventId, TodoId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import Rule
from nomadcrew.core.retention import FINGERPRINT_RETENTION
from nomadcrew.core.text import search_key
from nomadcrew.core.todos.model import REMINDED_BEFORE, AssigneeNotMember, Todo, TodoChange, TodoPage

_SQL = statements("todos")
_ALSO: Refusals = {"assignee_not_member": AssigneeNotMember}


class _Addition(Struct, frozen=True):
    todo: Todo
    rule: Rule
    event_id: EventId
    now: datetime
    fingerprint: bytes

    def as_row(self, n: int) -> dict[str, object]:
        return {
            "n": n,
            "id": self.todo.id,
            "trip_id": self.todo.trip_id,
            "text": self.todo.text,
            "text_search": search_key(self.todo.text),
            "status": self.todo.status,
            "caller": self.todo.created_by,
            "min_rank": self.rule.min_rank,
            "event_id": self.event_id,
            "now": self.now,
            "fingerprint": self.fingerprint.hex(),
            "kept_until": self.now + FINGERPRINT_RETENTION,
            "assignee_id": self.todo.assignee_id,
            "due_at": self.todo.due_at,
            "position": self.todo.position,
        }


class _Change(Struct, frozen=True):
    """A change of a to-do, or its deletion, which has no fields."""

    command: Command
    todo_id: TodoId
    change: TodoChange = TodoChange()

    def as_row(self, n: int) -> dict[str, object]:
        return {
            "n": n,
            "id": self.todo_id,
            "fields": self.change,
            "text_search": None if self.change.text is UNSET else search_key(self.change.text),
            **command_row(self.command),
        }


class PostgresTodos:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._add: Batcher[_Addition, str] = Batcher(self._add_all, alone=sql.in_transaction)
        self._change: Batcher[_Change, Todo] = Batcher(
            self._change_all, alone=sql.in_transaction, key=attrgetter("todo_id")
        )
        self._delete: Batcher[_Change, None] = Batcher(
            self._delete_all, alone=sql.in_transaction, key=attrgetter("todo_id")
        )

    async def add(self, todo: Todo, rule: Rule, event_id: EventId, *, now: datetime, fingerprint: bytes) -> Todo:
        verdict = await self._add(_Addition(todo, rule, event_id, now, fingerprint))
        if raise_for_verdict(verdict, "replayed", also=_ALSO) == "ok":
            return todo
        stored = await self._sql.fetch(_SQL["replayed"], fingerprint=fingerprint)
        return _todo(stored[0]) if stored else todo

    async def page(self, access: Access, *, limit: int, offset: int = 0, after: After | None = None) -> TodoPage:
        rows = await self._sql.fetch(
            _SQL["page"],
            **gate(access),
            limit=limit,
            offset=offset,
            **after_columns(after),
        )
        raise_for_verdict(rows[0]["verdict"])
        return TodoPage([_todo(row) for row in rows if row["id"] is not None], rows[0]["total"])

    async def get(self, access: Access, todo_id: TodoId) -> Todo:
        [row] = await self._sql.fetch(_SQL["one"], **gate(access), id=todo_id)
        raise_for_verdict(row["verdict"])
        return _todo(row)

    async def change(self, command: Command, todo_id: TodoId, change: TodoChange) -> Todo:
        return await self._change(_Change(command, todo_id, change))

    async def delete(self, command: Command, todo_id: TodoId) -> None:
        await self._delete(_Change(command, todo_id))

    async def remind(self, *, now: datetime, limit: int) -> int:
        rows = await self._sql.fetch(
            _SQL["remind"], now=now, ahead_s=int(REMINDED_BEFORE.total_seconds()), limit=limit
        )
        return len(rows)

    async def _add_all(self, batch: Sequence[_Addition]) -> Sequence[str]:
        rows = await self._sql.fetch(
            _SQL["add"],
            todos=json_param([addition.as_row(n) for n, addition in enumerate(batch)]),
            now=min(addition.now for addition in batch),
        )
        return [row["verdict"] for row in rows]

    async def _change_all(self, batch: Sequence[_Change]) -> Sequence[Todo | DomainError]:
        rows = await self._sql.fetch(
            _SQL["change"], changes=json_param([change.as_row(n) for n, change in enumerate(batch)])
        )
        return [refusal(row["verdict"], also=_ALSO) or _todo(row) for row in rows]

    async def _delete_all(self, batch: Sequence[_Change]) -> Sequence[DomainError | None]:
        rows = await self._sql.fetch(
            _SQL["delete"], deletions=json_param([change.as_row(n) for n, change in enumerate(batch)])
        )
        return [refusal(row["verdict"]) for row in rows]


def _todo(row: Row) -> Todo:
    return Todo(
        row["id"],
        row["trip_id"],
        row["text"],
        row["status"],
        row["created_by"],
        row["created_at"],
        row["updated_at"],
        row["assignee_id"],
        row["due_at"],
        row["position"],
    )
