"""Tokens of calendar links."""

from typing import Any
from uuid import UUID

import pytest

from nomadcrew.adapters.calendar_links import KeyedCalendarLinks
from nomadcrew.core.calendars.model import CalendarNotFound
from nomadcrew.core.calendars.service import read_calendar
from nomadcrew.core.ids import CalendarId
from tests.fakes import UnexpectedPort

CALENDAR = CalendarId(UUID(int=7))
LINKS = KeyedCalendarLinks(lambda: (b"new" * 16, b"old" * 16))
TOKEN = LINKS.token_of(CALENDAR)


def test_a_token_is_always_the_same_and_names_its_calendar() -> None:
    assert LINKS.token_of(CALENDAR) == TOKEN
    assert LINKS.calendar_of(TOKEN) == CALENDAR


def test_a_token_of_the_previous_key_still_works() -> None:
    before = KeyedCalendarLinks(lambda: (b"old" * 16,)).token_of(CALENDAR)
    assert before != TOKEN
    assert LINKS.calendar_of(before) == CALENDAR


@pytest.mark.parametrize(
    "token", ["", "é" * len(TOKEN), "=" * len(TOKEN), TOKEN[:-1], TOKEN + "A", "B" + TOKEN[1:], TOKEN[:-4] + "AAAA"]
)
def test_a_forged_or_malformed_token_names_no_calendar(token: str) -> None:
    assert LINKS.calendar_of(token) is None


def test_a_token_of_another_site_names_no_calendar() -> None:
    assert LINKS.calendar_of(KeyedCalendarLinks(lambda: (b"foreign" * 5,)).token_of(CALENDAR)) is None


async def test_a_forged_link_is_refused_without_a_look_into_the_store() -> None:
    calendars: Any = UnexpectedPort("calendars")
    with pytest.raises(CalendarNotFound):
        await read_calendar("forged", calendars=calendars, links=LINKS)
