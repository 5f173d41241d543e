"""Bodies of the to-do routes."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from nomadcrew.core.clock import in_utc
from nomadcrew.core.ids import UserId
from nomadcrew.core.todos.model import MAX_POSITION, MAX_TEXT, Todo, TodoChange, TodoStatus

Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
Instant = Annotated[datetime, Meta(tz=True)]
Position = Annotated[float, Meta(ge=-MAX_POSITION, le=MAX_POSITION)]


class NewTodoIn(Struct, rename="camel"):
    """A to-do to create. `tripId` is ignored: the path names the trip.

    `position` is its place in a list sorted by hand; a number between those of two others puts it between them.
    """

    text: Text
    trip_id: str | None = None
    assignee_id: UUID | None = None
    due_at: Instant | None = None
    position: Position | None = None


class TodoChangeIn(Struct, rename="camel"):
    """The fields to change. `null` removes the assignee, the due time or the position."""

    text: Text | None = None
    status: TodoStatus | None = None
    assignee_id: UUID | UnsetType | None = UNSET
    due_at: Instant | UnsetType | None = UNSET
    position: Position | UnsetType | None = UNSET

    def to_change(self) -> TodoChange:
        """The change.

        Raises:
            Invalid: `dueAt` is out of range in UTC.
        """
        return TodoChange(
            UNSET if self.text is None else self.text,
            UNSET if self.status is None else self.status,
            UserId(self.assignee_id) if isinstance(self.assignee_id, UUID) else self.assignee_id,
            in_utc(self.due_at, "dueAt") if isinstance(self.due_at, datetime) else self.due_at,
            self.position,
        )


class TodoView(Struct, rename="camel"):
    id: UUID
    trip_id: UUID
    text: str
    status: str
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    assignee_id: UUID | UnsetType = UNSET
    due_at: datetime | UnsetType = UNSET
    position: float | UnsetType = UNSET


class Pagination(Struct):
    limit: int
    offset: int
    total: int


class TodoPageView(Struct):
    data: list[TodoView]
    pagination: Pagination


class MessageView(Struct):
    message: str


def todo_view(todo: Todo) -> TodoView:
    return TodoView(
        todo.id,
        todo.trip_id,
        todo.text,
        todo.status,
        todo.created_by,
        todo.created_at,
        todo.updated_at,
        todo.assignee_id or UNSET,
        todo.due_at or UNSET,
        UNSET if todo.position is None else todo.position,
    )
