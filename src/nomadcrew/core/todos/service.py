"""To-dos: creating, listing, changing and deleting."""

from datetime import datetime

from msgspec import UNSET

from nomadcrew.core.access import Access, Command
from nomadcrew.core.batches import in_batches
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import EventId, NewId, TodoId, TripId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import rule
from nomadcrew.core.text import check_label
from nomadcrew.core.todos.model import MAX_TEXT, Todo, TodoChange, TodoPage, TodoStatus
from nomadcrew.core.todos.ports import Todos

REMIND_BATCH = 500


async def create_todo(
    trip_id: TripId,
    text: str,
    caller: UserId,
    *,
    todos: Todos,
    new_id: NewId,
    now: datetime,
    fingerprint: bytes,
    assignee_id: UserId | None = None,
    due_at: datetime | None = None,
    position: float | None = None,
) -> Todo:
    """Add a to-do to the trip.

    Raises:
        Invalid: the text is empty or longer than 255 characters.
        DomainError: as `Todos` says.
    """
    todo = Todo(
        TodoId(new_id()), trip_id, check_text(text), TodoStatus.INCOMPLETE, caller, now, now,
        assignee_id, due_at, position,
    )  # fmt: skip
    return await todos.add(todo, rule("todo", "create"), EventId(new_id()), now=now, fingerprint=fingerprint)


async def list_todos(
    trip_id: TripId, caller: UserId, *, todos: Todos, limit: int, offset: int = 0, after: After | None = None
) -> TodoPage:
    """A page of a trip's to-dos, newest first."""
    return await todos.page(Access(trip_id, caller, rule("todo", "read")), limit=limit, offset=offset, after=after)


async def get_todo(trip_id: TripId, todo_id: TodoId, caller: UserId, *, todos: Todos) -> Todo:
    return await todos.get(Access(trip_id, caller, rule("todo", "read")), todo_id)


async def change_todo(
    trip_id: TripId,
    todo_id: TodoId,
    caller: UserId,
    change: TodoChange,
    *,
    todos: Todos,
    new_id: NewId,
    now: datetime,
) -> Todo:
    """Change a to-do.

    Raises:
        Invalid: the text is empty or longer than 255 characters.
        DomainError: as `Todos` says.
    """
    if change.text is not UNSET:
        check_text(change.text)
    return await todos.change(
        Command(trip_id, caller, rule("todo", "update"), EventId(new_id()), now), todo_id, change
    )


async def delete_todo(
    trip_id: TripId, todo_id: TodoId, caller: UserId, *, todos: Todos, new_id: NewId, now: datetime
) -> None:
    await todos.delete(Command(trip_id, caller, rule("todo", "delete"), EventId(new_id()), now), todo_id)


async def remind(*, todos: Todos, now: datetime) -> int:
    """Announce all to-dos that are due within a day; returns their number."""
    return await in_batches(lambda: todos.remind(now=now, limit=REMIND_BATCH), REMIND_BATCH)


def check_text(text: str) -> str:
    """The text of a to-do. Raises `Invalid` if it shows nothing or is too long."""
    check_label("text", text)
    if not text.strip() or len(text) > MAX_TEXT:
        raise Invalid(f"A to-do must have 1 to {MAX_TEXT} characters.", code="invalid_request_payload")
    return text
