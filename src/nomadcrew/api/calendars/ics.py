"""The iCalendar text of a calendar (RFC 5545).

Calendar programs show to-dos of other hosts rarely, so a due to-do is an event at its due time.
"""

from datetime import timedelta
from typing import Any

from nomadcrew.core.calendars.model import CalendarEntries, CalendarTodo, CalendarTrip
from nomadcrew.core.text import visible_line

PRODUCT = "-//NomadCrew//NomadCrew//EN"
# Programs that read the property ask once an hour; Google Calendar decides itself.
REFRESH = timedelta(hours=1)
_STATUS = {"PLANNING": "TENTATIVE", "ACTIVE": "CONFIRMED", "COMPLETED": "CONFIRMED", "CANCELLED": "CANCELLED"}


def calendar_text(entries: CalendarEntries) -> bytes:
    """The entries as an iCalendar stream in UTF-8."""
    # Imported here: one function uses it, and it takes longer than the others' whole start.
    from icalendar import Calendar

    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("calscale", "GREGORIAN")
    calendar.add("method", "PUBLISH")
    calendar.add("x-wr-calname", visible_line(entries.name or "NomadCrew"))
    calendar.add("refresh-interval", REFRESH, parameters={"VALUE": "DURATION"})
    calendar.add("x-published-ttl", "PT1H")
    for trip in entries.trips:
        calendar.add_component(_trip_event(trip))
    for todo in entries.todos:
        calendar.add_component(_todo_event(todo))
    return bytes(calendar.to_ical())


def _trip_event(trip: CalendarTrip) -> Any:
    event = _event(f"trip-{trip.id}", trip)
    event.add("summary", visible_line(trip.name))
    event.add("dtstart", trip.start_date)
    event.add("dtend", trip.end_date + timedelta(days=1))  # exclusive
    event.add("status", _STATUS[trip.status])
    event.add("transp", "TRANSPARENT")
    if trip.description:
        event.add("description", trip.description)
    if trip.place:
        event.add("location", visible_line(trip.place))
    # Clients send zeros for a trip without a destination.
    if trip.latitude or trip.longitude:
        event.add("geo", (trip.latitude, trip.longitude))
    return event


def _todo_event(todo: CalendarTodo) -> Any:
    event = _event(f"todo-{todo.id}", todo)
    done = "✓ " if todo.status == "COMPLETE" else ""
    event.add("summary", f"{done}{visible_line(todo.text)} ({visible_line(todo.trip_name)})")
    event.add("dtstart", todo.due_at)
    event.add("transp", "TRANSPARENT")
    return event


def _event(uid: str, source: CalendarTrip | CalendarTodo) -> Any:
    from icalendar import Event

    event = Event()
    event.add("uid", f"{uid}@nomadcrew")
    event.add("dtstamp", source.updated_at)
    event.add("last-modified", source.updated_at)
    return event
