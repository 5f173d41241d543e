"""Port of calendars."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.calendars.model import Calendar, CalendarEntries
from nomadcrew.core.ids import CalendarId, TripId, UserId


class CalendarLinks(Protocol):
    """Secret links to calendars. They need no sign-in and work until the calendar is deleted."""

    def token_of(self, calendar_id: CalendarId) -> str:
        """The token of a calendar's link, always the same until the site's key changes."""
        ...

    def calendar_of(self, token: str) -> CalendarId | None:
        """The calendar of a token; None if the token is forged or malformed."""
        ...


class Calendars(Protocol):
    async def add(
        self,
        user_id: UserId,
        calendar_id: CalendarId,
        trip_id: TripId | None,
        *,
        min_rank: int,
        has_trips: bool,
        has_todos: bool,
        now: datetime,
    ) -> Calendar:
        """Add a calendar; returns the stored one if the user has the same already.

        Raises:
            NotOnboarded, NotTripMember, NotFound: the caller has no profile, or does not see the trip.
            TooManyCalendars: the user has `MAX_CALENDARS`.
        """
        ...

    async def of(self, user_id: UserId) -> Sequence[Calendar]:
        """The user's calendars, newest first.

        Raises:
            NotOnboarded: the user has no profile.
        """
        ...

    async def delete(self, user_id: UserId, calendar_id: CalendarId) -> None:
        """Delete a calendar of the user, so that its link stops working. Safe to repeat.

        Raises:
            NotOnboarded: the user has no profile.
        """
        ...

    async def entries(self, calendar_id: CalendarId) -> CalendarEntries:
        """The entries of a calendar: of trips on which its user is an ACTIVE member now.

        Raises:
            CalendarNotFound: there is no such calendar.
        """
        ...
