"""The iCalendar text, read back by a parser and checked by the rules of RFC 5545 that parsers trip over."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from icalendar import Calendar
from msgspec.structs import replace

from nomadcrew.api.calendars.ics import calendar_text
from nomadcrew.core.calendars.model import CalendarEntries, CalendarTodo, CalendarTrip
from nomadcrew.core.ids import TodoId, TripId
from tests.fakes import NOON

TRIP = CalendarTrip(
    TripId(UUID(int=1)), "Porto; wine, bridges", "First line\nsecond, ünïcode 👍" * 9, "Rua 1, Porto", 41.15, -8.61,
    date(2026, 7, 1), date(2026, 7, 9), "PLANNING", NOON,
)  # fmt: skip
TODO = CalendarTodo(
    TodoId(UUID(int=2)), "Porto", "book\r\nBEGIN:VEVENT", "INCOMPLETE", datetime(2026, 6, 30, 18, tzinfo=UTC), NOON
)
DONE = CalendarTodo(TodoId(UUID(int=3)), "Porto", "pack", "COMPLETE", NOON, NOON)


def parsed(text: bytes) -> tuple[Any, list[Any]]:
    calendar = Calendar.from_ical(text)
    return calendar, list(calendar.walk("VEVENT"))


def test_a_trip_is_an_event_of_whole_days_with_an_exclusive_end() -> None:
    calendar, [event] = parsed(calendar_text(CalendarEntries("Porto", [TRIP], [])))
    assert (calendar["x-wr-calname"], calendar["version"], calendar["method"]) == ("Porto", "2.0", "PUBLISH")
    assert (event.decoded("dtstart"), event.decoded("dtend")) == (date(2026, 7, 1), date(2026, 7, 10))
    assert (event["summary"], event["location"]) == ("Porto; wine, bridges", "Rua 1, Porto")
    assert (event["description"], event["status"]) == (TRIP.description, "TENTATIVE")
    assert event["uid"] == "trip-00000000-0000-0000-0000-000000000001@nomadcrew"


def test_a_trip_without_a_destination_has_no_coordinates() -> None:
    _, [here, nowhere] = parsed(
        calendar_text(CalendarEntries(None, [TRIP, replace(TRIP, latitude=0.0, longitude=0.0)], []))
    )
    assert ("geo" in here, "geo" in nowhere) == (True, False)


def test_a_due_todo_is_an_event_at_its_time_that_says_whether_it_is_done() -> None:
    _, [todo, done] = parsed(calendar_text(CalendarEntries(None, [], [TODO, DONE])))
    assert todo.decoded("dtstart") == TODO.due_at
    assert "dtend" not in todo
    assert (todo["summary"], done["summary"]) == ("book BEGIN:VEVENT (Porto)", "✓ pack (Porto)")


def test_lines_are_short_end_with_crlf_and_hold_whole_characters() -> None:
    text = calendar_text(CalendarEntries(None, [TRIP], [TODO]))
    assert text.endswith(b"END:VCALENDAR\r\n")
    lines = text.split(b"\r\n")
    assert max(map(len, lines)) <= 75
    for line in lines:
        line.decode()
    assert b"\n" not in text.replace(b"\r\n", b"")
    assert lines.count(b"BEGIN:VEVENT") == 2


def test_a_calendar_without_entries_is_valid() -> None:
    calendar, events = parsed(calendar_text(CalendarEntries(None, [], [])))
    assert (calendar["x-wr-calname"], events) == ("NomadCrew", [])
