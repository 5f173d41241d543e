"""Bodies of the calendar routes."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from nomadcrew.core.calendars.model import Calendar
from nomadcrew.core.calendars.service import Part


class NewCalendarIn(Struct, rename="camel"):
    """A calendar of the trip `tripId`, or without it of all trips of the caller."""

    trip_id: UUID | None = None
    parts: Annotated[list[Part], Meta(min_length=1, max_length=len(Part))] = field(default_factory=lambda: [*Part])


class CalendarView(Struct, rename="camel"):
    """A calendar. `url` is the secret link for calendar programs."""

    id: UUID
    url: str
    parts: list[Part]
    created_at: datetime
    trip_id: UUID | UnsetType = UNSET
    trip_name: str | UnsetType = UNSET


class CalendarsView(Struct):
    calendars: list[CalendarView]


def calendar_view(calendar: Calendar, url: str) -> CalendarView:
    has = {Part.TRIPS: calendar.has_trips, Part.TODOS: calendar.has_todos}
    return CalendarView(
        calendar.id,
        url,
        [part for part in Part if has[part]],
        calendar.created_at,
        calendar.trip_id or UNSET,
        calendar.trip_name or UNSET,
    )
