"""The texts of to-dos."""

from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import TodoId, TripId
from nomadcrew.core.todos import service
from nomadcrew.core.todos.model import MAX_TEXT, TodoChange
from tests.fakes import ANA, NOON, CountingIds, UnexpectedPort

TRIP, TODO = TripId(UUID(int=1)), TodoId(UUID(int=2))


async def test_reminders_are_sent_in_batches_until_none_is_left() -> None:
    counts = [service.REMIND_BATCH, service.REMIND_BATCH, 3]

    async def remind(*, now: datetime, limit: int) -> int:
        assert (now, limit) == (NOON, service.REMIND_BATCH)
        return counts.pop(0)

    todos: Any = SimpleNamespace(remind=remind)
    assert await service.remind(todos=todos, now=NOON) == 2 * service.REMIND_BATCH + 3
    assert counts == []


@pytest.mark.parametrize(
    "text",
    ["", " ", "\u3164", "\u2800", "\ufe0f", "\u200b\u2060", "pack\u202ekcap", "\u2066pack", "x" * (MAX_TEXT + 1)],
)
async def test_a_todo_that_shows_nothing_or_reverses_text_is_refused(text: str) -> None:
    todos: Any = UnexpectedPort("todos")
    with pytest.raises(Invalid):
        await service.create_todo(TRIP, text, ANA, todos=todos, new_id=CountingIds(), now=NOON, fingerprint=b"")
    todos = SimpleNamespace(change=None)
    with pytest.raises(Invalid):
        await service.change_todo(TRIP, TODO, ANA, TodoChange(text), todos=todos, new_id=CountingIds(), now=NOON)
