"""A shared to-do."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from nomadcrew.core.ids import TodoId, TripId, UserId

MAX_TEXT = 255


class TodoStatus(StrEnum):
    INCOMPLETE = "INCOMPLETE"
    COMPLETE = "COMPLETE"


class Todo(Struct, frozen=True):
    id: TodoId
    trip_id: TripId
    text: str
    status: str
    created_by: UserId
    created_at: datetime
    updated_at: datetime


class TodoPage(Struct, frozen=True):
    """A page of a trip's to-dos, newest first; `total` counts all of them."""

    items: Sequence[Todo]
    total: int
