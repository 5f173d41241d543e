"""What invitations need from a database and from whoever signs links."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.ids import EventId, InvitationId, MembershipId, TripId, UserId
from nomadcrew.core.invitations.model import Invitation, InvitationDetails
from nomadcrew.core.members.model import Membership
from nomadcrew.core.permissions import Role, Rule


class InvitationLinks(Protocol):
    """Signs and reads the token in an invitation's link."""

    def issue(self, invitation: Invitation, *, now: datetime) -> str: ...

    def read(self, token: str, *, now: datetime) -> InvitationId:
        """The invitation a token stands for.

        Raises:
            BadInvitationToken: forged, malformed or expired.
        """
        ...


class Invitations(Protocol):
    """Invitations of trips. Events of a write are stored in its transaction; mail follows from the event.

    Methods about a trip raise as `Trips` does. Those about an invitation raise `NotOnboarded`, `NotFound` (also
    for an invitation to a deleted trip) and `EmailMismatch` to everybody but the invitee.
    """

    async def invite(
        self,
        trip_id: TripId,
        email: str,
        role: Role,
        caller: UserId,
        rule: Rule,
        *,
        invitation_id: InvitationId,
        event_id: EventId,
        now: datetime,
    ) -> Invitation:
        """Store an invitation, or renew the pending one to that address and mail it again.

        Within 30 s of the last mail a renewal mails nobody, so that a phone may repeat itself.

        Raises:
            Conflict: the address belongs to an ACTIVE member.
            Forbidden: the role is above the caller's.
        """
        ...

    async def of(self, trip_id: TripId, caller: UserId, rule: Rule) -> Sequence[Invitation]:
        """Newest first, every status; at most 500."""
        ...

    async def revoke(
        self, trip_id: TripId, invitation_id: InvitationId, caller: UserId, rule: Rule, *, now: datetime
    ) -> None:
        """Withdraw a pending invitation of this trip.

        Raises:
            NotPending: it was answered or withdrawn.
        """
        ...

    async def details(self, invitation_id: InvitationId, caller: UserId | None) -> InvitationDetails:
        """What the invitee may know; without a caller the link itself was the proof."""
        ...

    async def stored(self, invitation_id: InvitationId) -> tuple[Invitation, InvitationDetails] | None:
        """For mail: the invitation as it is now, None once it or its trip is gone."""
        ...

    async def accept(
        self,
        invitation_id: InvitationId,
        caller: UserId,
        *,
        membership_id: MembershipId,
        event_id: EventId,
        now: datetime,
    ) -> Membership:
        """Join the trip with the invited role; again by the same person returns their membership.


        Raises:
            NotPending, Expired: too late.
            Conflict: the caller is a member already, the trip is full, or they are on too many trips.
        """
        ...

    async def decline(
        self, invitation_id: InvitationId, caller: UserId, *, event_id: EventId, now: datetime
    ) -> None:
        """Turn the invitation down; again by the same person changes nothing.

        Raises:
            NotPending, Expired: too late.
        """
        ...
