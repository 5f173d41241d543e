"""The name of a meeting point."""

from typing import Any
from uuid import UUID

import pytest

from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import TripId
from nomadcrew.core.locations import service
from nomadcrew.core.locations.model import MeetingPoint
from tests.fakes import ANA, NOON, CountingIds, UnexpectedPort


@pytest.mark.parametrize(
    "name", ["\u3164", "\u2800", "\ufe0f", "Bridge\u202eegdirB", "\u2067Bridge", "Bridge\u202c"]
)
async def test_a_name_that_shows_nothing_or_reverses_text_is_refused(name: str) -> None:
    points: Any = UnexpectedPort("meeting_points")
    point = MeetingPoint(41.1, -8.6, name, 50, ANA, NOON)
    with pytest.raises(Invalid):
        await service.set_meeting_point(TripId(UUID(int=1)), ANA, point, points=points, new_id=CountingIds())
