"""Advances the status of trips with their local days: a trip starts on its first day and is completed after its
last.

Only on sites whose operator wants it; elsewhere members change the status themselves.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol

from msgspec import Struct

from nomadcrew.core.ids import EventId, NewId, TripId
from nomadcrew.core.timezones import local_day
from nomadcrew.core.trips.model import Status

BATCH = 500


class OpenTrip(Struct, frozen=True):
    """A trip that is PLANNING or ACTIVE."""

    id: TripId
    status: str
    start_date: date
    end_date: date
    timezone: str


class StatusChange(Struct, frozen=True):
    trip_id: TripId
    old: str
    new: Status
    event_id: EventId


class TripStatuses(Protocol):
    async def open_trips(self, *, today: date, after: TripId | None, limit: int) -> Sequence[OpenTrip]:
        """Trips above `after`, by id, that may have started or ended on a day next to `today`, or before."""
        ...

    async def advance(self, changes: Sequence[StatusChange], *, now: datetime) -> int:
        """Change the status of trips that still have the old one, with an event each. Returns their number."""
        ...


async def advance_statuses(*, trip_statuses: TripStatuses, new_id: NewId, now: datetime) -> int:
    """Advance the status of all trips; returns the number of changes. Safe to repeat."""
    total, after = 0, None
    while True:
        trips = await trip_statuses.open_trips(today=now.date(), after=after, limit=BATCH)
        changes = [
            StatusChange(trip.id, trip.status, new, EventId(new_id()))
            for trip in trips
            if (new := next_status(trip, now)) is not None
        ]
        if changes:
            total += await trip_statuses.advance(changes, now=now)
        if len(trips) < BATCH:
            return total
        after = trips[-1].id


def next_status(trip: OpenTrip, now: datetime) -> Status | None:
    """The status of a trip by its local day; None if it stays.

    A trip whose days passed while it was PLANNING stays: it may have been given up.
    """
    try:
        today = local_day(now, trip.timezone)
    except (KeyError, OSError, ValueError):  # the time zone is no longer known
        return None
    if trip.status == Status.PLANNING and trip.start_date <= today <= trip.end_date:
        return Status.ACTIVE
    if trip.status == Status.ACTIVE and trip.end_date < today:
        return Status.COMPLETED
    return None
