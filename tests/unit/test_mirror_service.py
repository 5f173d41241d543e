"""Events whose rows in the mirror are gone, or that have none."""

import json
from typing import Any, cast

import pytest

from nomadcrew.core.ids import TripId, uuid7
from nomadcrew.core.locations.model import Crew, Member, Owner, Reader
from nomadcrew.core.locations.ports import Positions
from nomadcrew.core.mirror.model import MirroredTrip
from nomadcrew.core.mirror.ports import Mirror, MirrorSource
from nomadcrew.core.mirror.service import mirror_event
from tests.fakes import ANA, BEN, NOON, an_event

TRIP = TripId(uuid7())


class RecordingMirror:
    """`Mirror` that records its calls; the source is empty, and the crew of positions has not reported yet."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    async def user(self, user_id: object) -> None:
        return None

    async def trip(self, trip_id: object) -> MirroredTrip | None:
        return None

    async def members_with_positions(self, access: object) -> Crew:
        members = [Member(Owner(user_id, NOON, None, False, None), "", "", "", None) for user_id in (ANA, BEN)]
        return Crew(Reader(ANA, NOON), False, members)

    def __getattr__(self, name: str) -> Any:
        async def record(*given: object) -> None:
            self.calls.append((name, given))

        return record


@pytest.mark.parametrize(
    ("type_", "trip_id", "calls"),
    [
        ("profile.changed", None, []),
        ("SOMETHING_ELSE", None, []),
        ("TRIP_UPDATED", TRIP, [("drop_trip", (TRIP,))]),
        ("TRIP_STATUS_UPDATED", TRIP, [("drop_trip", (TRIP,)), ("put_positions", (TRIP, [], []))]),
        ("LOCATION_UPDATED", TRIP, [("put_positions", (TRIP, [], [ANA]))]),
    ],
)
async def test_deleted_rows_are_dropped_and_missing_ones_hidden(
    type_: str, trip_id: TripId | None, calls: list[tuple[str, Any]]
) -> None:
    fake = RecordingMirror()
    event = an_event(type=type_, trip_id=trip_id, payload=json.dumps({"userId": str(ANA)}))
    await mirror_event(
        event,
        source=cast(MirrorSource, fake),
        positions=cast(Positions, fake),
        mirror=cast(Mirror, fake),
        now=NOON,
    )
    assert fake.calls == calls
