"""The status of a trip by its local days."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from nomadcrew.core.ids import TripId
from nomadcrew.core.trips.model import Status
from nomadcrew.core.trips.statuses import BATCH, OpenTrip, StatusChange, advance_statuses, next_status
from tests.fakes import NOON, CountingIds

FIRST, LAST = date(2026, 7, 1), date(2026, 7, 3)


def a_trip(status: Status, timezone: str = "UTC", number: int = 1) -> OpenTrip:
    return OpenTrip(TripId(UUID(int=number)), status, FIRST, LAST, timezone)


@pytest.mark.parametrize(
    ("status", "timezone", "now", "expected"),
    [
        (Status.PLANNING, "UTC", datetime(2026, 6, 30, 23, 59, tzinfo=UTC), None),
        (Status.PLANNING, "UTC", datetime(2026, 7, 1, 0, 0, tzinfo=UTC), Status.ACTIVE),
        (Status.PLANNING, "Asia/Kathmandu", datetime(2026, 6, 30, 18, 14, tzinfo=UTC), None),
        (Status.PLANNING, "Asia/Kathmandu", datetime(2026, 6, 30, 18, 15, tzinfo=UTC), Status.ACTIVE),
        (Status.PLANNING, "Pacific/Kiritimati", datetime(2026, 6, 30, 10, 0, tzinfo=UTC), Status.ACTIVE),
        (Status.PLANNING, "UTC", datetime(2026, 7, 4, 0, 0, tzinfo=UTC), None),
        (Status.ACTIVE, "UTC", datetime(2026, 7, 3, 23, 59, tzinfo=UTC), None),
        (Status.ACTIVE, "UTC", datetime(2026, 7, 4, 0, 0, tzinfo=UTC), Status.COMPLETED),
        (Status.ACTIVE, "America/Los_Angeles", datetime(2026, 7, 4, 6, 59, tzinfo=UTC), None),
        (Status.ACTIVE, "America/Los_Angeles", datetime(2026, 7, 4, 7, 0, tzinfo=UTC), Status.COMPLETED),
        (Status.ACTIVE, "Mars/Olympus", datetime(2026, 8, 1, tzinfo=UTC), None),
    ],
)
def test_a_trip_follows_the_days_of_its_destination(
    status: Status, timezone: str, now: datetime, expected: Status | None
) -> None:
    assert next_status(a_trip(status, timezone), now) == expected


@dataclass
class FakeStatuses:
    trips: list[OpenTrip]
    changes: list[StatusChange] = field(default_factory=list)

    async def open_trips(self, *, today: date, after: TripId | None, limit: int) -> Sequence[OpenTrip]:
        assert today == NOON.date()
        return [trip for trip in self.trips if after is None or trip.id > after][:limit]

    async def advance(self, changes: Sequence[StatusChange], *, now: datetime) -> int:
        self.changes += changes
        return len(changes)


async def test_all_trips_are_looked_at_in_batches() -> None:
    planned = [a_trip(Status.PLANNING, number=n) for n in range(1, BATCH + 2)]
    store = FakeStatuses([*planned, a_trip(Status.ACTIVE, number=BATCH + 2)])
    assert await advance_statuses(trip_statuses=store, new_id=CountingIds(), now=NOON) == BATCH + 1
    assert [change.trip_id for change in store.changes] == [trip.id for trip in planned]
    assert len({change.event_id for change in store.changes}) == BATCH + 1


async def test_trips_that_stay_cause_no_write() -> None:
    store = FakeStatuses([a_trip(Status.ACTIVE)])
    assert await advance_statuses(trip_statuses=store, new_id=CountingIds(), now=NOON) == 0
    assert store.changes == []
