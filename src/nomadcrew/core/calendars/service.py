"""Creates calendars and reads them by their links."""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

from nomadcrew.core.calendars.model import Calendar, CalendarEntries, CalendarNotFound
from nomadcrew.core.calendars.ports import CalendarLinks, Calendars
from nomadcrew.core.ids import CalendarId, NewId, TripId, UserId
from nomadcrew.core.permissions import rule


class Part(StrEnum):
    """The entries that a calendar can have."""

    TRIPS = "trips"
    TODOS = "todos"


async def create_calendar(
    user_id: UserId,
    trip_id: TripId | None,
    parts: Collection[Part],
    *,
    calendars: Calendars,
    new_id: NewId,
    now: datetime,
) -> Calendar:
    """Create a calendar of a trip, or without one of all trips of the user.

    Raises:
        DomainError: as `Calendars` says.
    """
    return await calendars.add(
        user_id,
        CalendarId(new_id()),
        trip_id,
        min_rank=rule("trip", "read").min_rank,
        has_trips=Part.TRIPS in parts,
        has_todos=Part.TODOS in parts,
        now=now,
    )


async def read_calendar(token: str, *, calendars: Calendars, links: CalendarLinks) -> CalendarEntries:
    """The entries of the calendar with this link.

    Raises:
        CalendarNotFound: there is no such calendar.
    """
    calendar_id = links.calendar_of(token)
    if calendar_id is None:
        raise CalendarNotFound
    return await calendars.entries(calendar_id)
