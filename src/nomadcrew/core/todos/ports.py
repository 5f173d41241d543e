"""Port of to-dos."""

from datetime import datetime
from typing import Protocol

from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, TodoId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import Rule
from nomadcrew.core.todos.model import Todo, TodoChange, TodoPage


class Todos(Protocol):
    """A trip's to-dos. Events of a write are stored in its transaction.

    Every method raises `NotOnboarded`, `NotTripMember`, `NotFound` (a deleted trip, a to-do that is not on the
    trip) and `Forbidden` (below the rule's rank and, if the rule admits creators, not the creator). Writes raise
    `AssigneeNotMember` for an assignee who is not on the trip. An assignee who has left is not shown.
    """

    async def add(self, todo: Todo, rule: Rule, event_id: EventId, *, now: datetime, fingerprint: bytes) -> Todo:
        """Store a to-do. A repeat within 30 s, by `fingerprint`, returns the stored one if it still exists."""
        ...

    async def page(self, access: Access, *, limit: int, offset: int = 0, after: After | None = None) -> TodoPage:
        """The to-dos below `after`, newest first, and the number of all."""
        ...

    async def get(self, access: Access, todo_id: TodoId) -> Todo: ...

    async def change(self, command: Command, todo_id: TodoId, change: TodoChange) -> Todo:
        """Change a to-do. Without a change there is no event."""
        ...

    async def delete(self, command: Command, todo_id: TodoId) -> None: ...

    async def remind(self, *, now: datetime, limit: int) -> int:
        """Announce incomplete to-dos that are due within a day, each due time once, with an event for each.

        Returns the number of to-dos, at most `limit`.
        """
        ...
