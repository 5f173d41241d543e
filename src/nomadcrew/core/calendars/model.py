"""A calendar: trips and due to-dos, read by calendar programs through a secret link."""

from collections.abc import Sequence
from datetime import date, datetime

from msgspec import Struct

from nomadcrew.core.errors import Conflict, NotFound
from nomadcrew.core.ids import CalendarId, TodoId, TripId

MAX_CALENDARS = 20
# The entries of a calendar, newest first: the size limit of a Data API reply.
MAX_TRIPS, MAX_TODOS = 200, 500


class Calendar(Struct, frozen=True):
    """A calendar of one trip, or of all trips of its user. `trip_name` is None for all trips."""

    id: CalendarId
    trip_id: TripId | None
    trip_name: str | None
    has_trips: bool
    has_todos: bool
    created_at: datetime


class CalendarTrip(Struct, frozen=True):
    id: TripId
    name: str
    description: str
    place: str
    latitude: float
    longitude: float
    start_date: date
    end_date: date
    status: str
    updated_at: datetime


class CalendarTodo(Struct, frozen=True):
    id: TodoId
    trip_name: str
    text: str
    status: str
    due_at: datetime
    updated_at: datetime


class CalendarEntries(Struct, frozen=True):
    """The entries of a calendar as its user may see them now. `name` is that of the trip, or None for all trips."""

    name: str | None
    trips: Sequence[CalendarTrip]
    todos: Sequence[CalendarTodo]


class TooManyCalendars(Conflict):
    def __init__(self) -> None:
        super().__init__(
            f"A user can have {MAX_CALENDARS} calendar links; revoke one first.", code="too_many_calendars"
        )


class CalendarNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("calendar", code="calendar_not_found")
