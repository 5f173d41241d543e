"""Port of memberships."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, MembershipId, TripId, UserId
from nomadcrew.core.members.model import Membership
from nomadcrew.core.permissions import Role
from nomadcrew.core.trips.model import TripMember


class Members(Protocol):
    """The members of trips. Events of a write are stored in its transaction.

    Every method with a `caller` raises `NotOnboarded`, `NotTripMember`, `NotFound` (a deleted trip, a target who is
    not an ACTIVE member) and `Forbidden` (below the rule's rank).
    """

    async def list_for_trip(self, access: Access) -> Sequence[TripMember]:
        """ACTIVE members, oldest first."""
        ...

    async def add(
        self, command: Command, user_id: UserId, role: Role, *, membership_id: MembershipId
    ) -> Membership | None:
        """Add a user to the trip. An ACTIVE member is returned unchanged, without an event.

        None if the user must consent first: they never shared a trip with the caller, left this one by themselves
        or declined an invitation to it.

        Raises:
            NotFound: no such user.
            Conflict: the trip is full, or the user is on too many trips.
        """
        ...

    async def remove(self, command: Command, user_id: UserId) -> None:
        """Remove a member from the trip: the caller, or a member of a lower rank.

        Raises:
            LastOwner: the trip would have no owner.
        """
        ...

    async def change_role(
        self, access: Access, user_id: UserId, role: Role, *, event_ids: tuple[EventId, EventId], now: datetime
    ) -> Membership:
        """Change a member's role. An OWNER who assigns OWNER becomes ADMIN in the same statement.

        The member's present role changes nothing and causes no event.

        Raises:
            OwnerImmutable: the target is an OWNER, or the caller is not one and assigns OWNER.
        """
        ...

    async def list_active_trips(self, user_id: UserId) -> Sequence[TripId]:
        """The user's trips, for the greeting of a socket; at most 500."""
        ...

    async def is_active(self, trip_id: TripId, user_id: UserId) -> bool: ...
