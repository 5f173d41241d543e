"""Cursors of synchronisation as texts."""

import base64
from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec.structs import replace

from nomadcrew.core.ids import TripId
from nomadcrew.core.sync.cursors import BadCursor, Cursor, Key, cursor_of, text_of
from tests.fakes import NOON

KEY = Key(7, "todo", UUID(int=2), UUID(int=3))
WHOLE = Cursor(UUID(int=1), "10:20:10,15", NOON)
INSIDE = Cursor(UUID(int=1), "10:10:", NOON, "20:30:", NOON, KEY, [TripId(UUID(int=4))])


@pytest.mark.parametrize("cursor", [WHOLE, INSIDE, replace(INSIDE, base=None, base_at=None)])
def test_a_cursor_is_read_back_from_its_text(cursor: Cursor) -> None:
    assert cursor_of(text_of(cursor)) == cursor


@pytest.mark.parametrize(
    "cursor",
    [
        replace(WHOLE, base=None),
        replace(WHOLE, base_at=None),
        replace(WHOLE, base=None, base_at=None),
        replace(WHOLE, base_at=datetime(2026, 1, 1)),  # noqa: DTZ001 — without a time zone
        replace(INSIDE, last=None),
        replace(INSIDE, target=None, target_at=None),
        replace(INSIDE, last=replace(KEY, written=-1)),
        replace(INSIDE, last=replace(KEY, written=2**63)),
        replace(INSIDE, last=replace(KEY, kind="a'b")),
        *(replace(WHOLE, base=text) for text in ("", "x", "0:1:", "20:10:", "10:20:9", "10:20:20", "10:20:15,12")),
        replace(WHOLE, base=f"{10**18}:{10**18}:"),
    ],
)
def test_a_text_with_impossible_points_is_refused(cursor: Cursor) -> None:
    with pytest.raises(BadCursor):
        cursor_of(text_of(cursor))


@pytest.mark.parametrize("text", ["", "x", "é", base64.urlsafe_b64encode(b"{}").decode(), "A" * 70_000])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        cursor_of(text)


def test_the_oldest_time_of_a_cursor_is_that_of_its_base() -> None:
    earlier = datetime(2020, 1, 1, tzinfo=UTC)
    assert replace(INSIDE, base_at=earlier).oldest_at == earlier
    assert replace(INSIDE, base=None, base_at=None, target_at=earlier).oldest_at == earlier
