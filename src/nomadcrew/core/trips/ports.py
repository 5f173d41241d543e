"""Port of trips."""

from datetime import datetime
from typing import Protocol

from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, MembershipId, TripId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.trips.model import MAX_TRIPS_PER_USER, NewTrip, Trip, TripChange, TripPage, TripSearch


class Trips(Protocol):
    """The caller's trips. Events of a write are stored in its transaction.

    Every method raises `NotOnboarded` if the caller has no profile. Methods about one trip raise `NotTripMember` if
    the caller is not a member, `NotFound` if the trip is deleted, and `Forbidden` below the rule's rank.
    """

    async def add(
        self,
        trip_id: TripId,
        membership_id: MembershipId,
        event_id: EventId,
        new: NewTrip,
        caller: UserId,
        *,
        now: datetime,
        fingerprint: bytes,
    ) -> Trip:
        """Store a trip with the caller as OWNER. A repeat within 30 s, by `fingerprint`, returns the stored trip.

        Raises:
            Conflict: the caller is on `MAX_TRIPS_PER_USER` trips.
        """
        ...

    async def list_for_user(
        self, caller: UserId, *, limit: int = MAX_TRIPS_PER_USER, after: After | None = None
    ) -> TripPage:
        """The caller's trips below `after` with members, latest start first.

        A page ends early if its trips have more than `MAX_LISTED_MEMBERS` members together.
        """
        ...

    async def search(self, access: Access, search: TripSearch, *, after: After | None = None) -> TripPage:
        """The caller's trips below `after` that match, latest start first; the offset counts without `after`."""
        ...

    async def card(self, access: Access) -> str:
        """A trip with its members as lists show it: JSON text, ready for the wire."""
        ...

    async def get(self, access: Access) -> Trip:
        """A trip with its members, oldest first."""
        ...

    async def change(
        self,
        access: Access,
        change: TripChange,
        *,
        must_move: bool,
        event_ids: tuple[EventId, EventId],
        now: datetime,
    ) -> Trip:
        """Change details and status. Values equal to the stored ones change nothing and cause no event.

        Args:
            must_move: refuse the trip's present status.
            event_ids: the ids of the events for changed details and for a changed status.

        Raises:
            InvalidDates: the trip would end before it starts.
            InvalidTransition: the status cannot follow the stored one.
        """
        ...

    async def delete(self, command: Command) -> None:
        """Mark the trip as deleted; its rows remain."""
        ...
