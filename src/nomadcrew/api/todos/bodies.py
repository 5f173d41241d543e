"""Bodies of the to-do routes."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from nomadcrew.core.todos.model import MAX_TEXT, TodoStatus

Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]


class NewTodoIn(Struct, rename="camel"):
    """A to-do to create. `tripId` is ignored: the path names the trip."""

    text: Text
    trip_id: str | None = None


class TodoChangeIn(Struct):
    text: Text | None = None
    status: TodoStatus | None = None


class TodoView(Struct, rename="camel"):
    id: UUID
    trip_id: UUID
    text: str
    status: str
    created_by: UUID
    created_at: datetime
    updated_at: datetime


class Pagination(Struct):
    limit: int
    offset: int
    total: int


class TodoPageView(Struct):
    data: list[TodoView]
    pagination: Pagination


class MessageView(Struct):
    message: str
