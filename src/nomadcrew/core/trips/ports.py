"""What trips need from a database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.ids import EventId, MembershipId, TripId, UserId
from nomadcrew.core.permissions import Rule
from nomadcrew.core.trips.model import NewTrip, Trip, TripChange, TripSearch


class Trips(Protocol):
    """The caller's trips. Events of a write are stored in its transaction.

    Every method raises `NotOnboarded` for a caller without a profile; those about one trip raise `NotTripMember`
    for outsiders, `NotFound` to members of a deleted trip and `Forbidden` below the rule's rank.
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
        """Store a trip with the caller as OWNER; the trip a replay made, if `fingerprint` was used 30 s ago.

        Raises:
            Conflict: the caller is on as many trips as one may be.
        """
        ...

    async def of(self, caller: UserId) -> Sequence[Trip]:
        """The caller's trips with members, latest start first; at most 500."""
        ...

    async def search(self, trip_id: TripId, caller: UserId, rule: Rule, search: TripSearch) -> Sequence[Trip]:
        """Those of the caller's trips that match, latest start first."""
        ...

    async def one(self, trip_id: TripId, caller: UserId, rule: Rule) -> Trip:
        """A trip with its members, oldest first."""
        ...

    async def change(
        self,
        trip_id: TripId,
        caller: UserId,
        rule: Rule,
        change: TripChange,
        *,
        must_move: bool,
        event_ids: tuple[EventId, EventId],
        now: datetime,
    ) -> Trip:
        """Change details, the status among them. What is as stored already changes nothing and tells nobody.

        Args:
            must_move: refuse the status the trip has already.
            event_ids: for changed details and for a changed status.

        Raises:
            InvalidDates: the merged dates end before they start.
            InvalidTransition: the status cannot follow the stored one.
        """
        ...

    async def delete(
        self, trip_id: TripId, caller: UserId, rule: Rule, event_id: EventId, *, now: datetime
    ) -> None:
        """Hide the trip from everybody; its rows stay."""
        ...
