"""A shared to-do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nomadcrew.core.ids import TodoId, TripId, UserId

MAX_TEXT = 255


class TodoStatus(StrEnum):
    INCOMPLETE = "INCOMPLETE"
    COMPLETE = "COMPLETE"


@dataclass(frozen=True, slots=True)
class Todo:
    id: TodoId
    trip_id: TripId
    text: str
    status: str
    created_by: UserId
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class TodoPage:
    """A page of a trip's to-dos, newest first; `total` counts all of them."""

    items: Sequence[Todo]
    total: int
