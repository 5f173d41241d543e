"""To-dos on PostgreSQL."""

from datetime import datetime

from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, after_columns, gate, statements
from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, TodoId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import Rule
from nomadcrew.core.retention import FINGERPRINT_RETENTION
from nomadcrew.core.todos.model import Todo, TodoPage

_SQL = statements("todos")


class PostgresTodos:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def add(self, todo: Todo, rule: Rule, event_id: EventId, *, now: datetime, fingerprint: bytes) -> Todo:
        [row] = await self._sql.fetch(
            _SQL["add"],
            id=todo.id,
            trip_id=todo.trip_id,
            text=todo.text,
            status=todo.status,
            caller=todo.created_by,
            min_rank=rule.min_rank,
            event_id=event_id,
            now=now,
            fingerprint=fingerprint,
            kept_until=now + FINGERPRINT_RETENTION,
        )
        if raise_for_verdict(row["verdict"], "replayed") == "ok":
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

    async def change(self, command: Command, todo_id: TodoId, *, text: str | None, status: str | None) -> Todo:
        [row] = await self._sql.fetch(
            _SQL["change"],
            **gate(command),
            id=todo_id,
            own=command.rule.own,
            text=text,
            status=status,
            event_id=command.event_id,
            now=command.now,
        )
        raise_for_verdict(row["verdict"])
        return _todo(row)

    async def delete(self, command: Command, todo_id: TodoId) -> None:
        [row] = await self._sql.fetch(
            _SQL["delete"],
            **gate(command),
            id=todo_id,
            own=command.rule.own,
            event_id=command.event_id,
            now=command.now,
        )
        raise_for_verdict(row["verdict"])


def _todo(row: Row) -> Todo:
    return Todo(
        row["id"],
        row["trip_id"],
        row["text"],
        row["status"],
        row["created_by"],
        row["created_at"],
        row["updated_at"],
    )
