"""What membership needs from a database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.ids import EventId, MembershipId, TripId, UserId
from nomadcrew.core.members.model import Membership
from nomadcrew.core.permissions import Role, Rule
from nomadcrew.core.trips.model import TripMember


class Members(Protocol):
    """Who is on a trip. Events of a write are stored in its transaction.

    Every method raises `NotOnboarded`, `NotTripMember`, `NotFound` (a deleted trip; a target who is no ACTIVE
    member) and `Forbidden` (below the rule's rank).
    """

    async def of(self, trip_id: TripId, caller: UserId, rule: Rule) -> Sequence[TripMember]:
        """ACTIVE members, oldest first."""
        ...

    async def add(
        self,
        trip_id: TripId,
        user_id: UserId,
        role: Role,
        caller: UserId,
        rule: Rule,
        *,
        membership_id: MembershipId,
        event_id: EventId,
        now: datetime,
    ) -> Membership:
        """Put a person on the trip; an ACTIVE member stays as they are and nobody is told.

        Raises:
            NotFound: no such person.
            Conflict: the trip is full, or the person is on too many.
        """
        ...

    async def remove(
        self,
        trip_id: TripId,
        user_id: UserId,
        caller: UserId,
        rule: Rule,
        *,
        event_id: EventId,
        now: datetime,
    ) -> None:
        """Take a member off the trip; oneself whatever the rank, others only of a lower rank.

        Raises:
            LastOwner: the trip would have no owner.
        """
        ...

    async def change_role(
        self,
        trip_id: TripId,
        user_id: UserId,
        role: Role,
        caller: UserId,
        rule: Rule,
        *,
        event_ids: tuple[EventId, EventId],
        now: datetime,
    ) -> Membership:
        """Give a member another role. An OWNER giving OWNER becomes ADMIN in the same statement.

        The role a member has already changes nothing and tells nobody.

        Raises:
            OwnerImmutable: the target is an OWNER, or the caller is none and gives OWNER.
        """
        ...

    async def active(self, user_id: UserId) -> Sequence[TripId]:
        """The trips a person is on, for the frame that greets a socket; at most 500."""
        ...

    async def is_active(self, trip_id: TripId, user_id: UserId) -> bool: ...
