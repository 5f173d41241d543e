"""A shared to-do."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType

from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import TodoId, TripId, UserId

MAX_TEXT = 255
# Members sort by hand: a client puts a to-do between two others by a number between theirs.
MAX_POSITION = 1e9
REMINDED_BEFORE = timedelta(days=1)


class TodoStatus(StrEnum):
    INCOMPLETE = "INCOMPLETE"
    COMPLETE = "COMPLETE"


class Todo(Struct, frozen=True):
    """A to-do. `assignee_id` is the member who does it; `position` is its place in a list sorted by hand."""

    id: TodoId
    trip_id: TripId
    text: str
    status: str
    created_by: UserId
    created_at: datetime
    updated_at: datetime
    assignee_id: UserId | None = None
    due_at: datetime | None = None
    position: float | None = None


class TodoChange(Struct, frozen=True):
    """The fields to change. None removes a value."""

    text: str | UnsetType = UNSET
    status: TodoStatus | UnsetType = UNSET
    assignee_id: UserId | UnsetType | None = UNSET
    due_at: datetime | UnsetType | None = UNSET
    position: float | UnsetType | None = UNSET


class TodoPage(Struct, frozen=True):
    """A page of a trip's to-dos, newest first; `total` counts all of them."""

    items: Sequence[Todo]
    total: int


class AssigneeNotMember(Invalid):
    code = "assignee_not_member"
    text = "The assignee must be a member of the trip."
