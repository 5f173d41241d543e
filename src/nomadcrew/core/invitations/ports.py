"""Ports of invitations and their links."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, InvitationId, MembershipId, UserId
from nomadcrew.core.invitations.model import Invitation, InvitationDetails, ToRemind
from nomadcrew.core.members.model import Membership
from nomadcrew.core.permissions import Role


class InvitationLinks(Protocol):
    """Signs and verifies the token in an invitation's link."""

    def issue(self, invitation: Invitation, *, now: datetime) -> str: ...

    def read(self, token: str, *, now: datetime) -> InvitationId:
        """The invitation of a token.

        Raises:
            BadInvitationToken: the token is forged, malformed or expired.
        """
        ...


class Invitations(Protocol):
    """Invitations to trips. Events of a write are stored in its transaction; the mail follows from the event.

    Methods about a trip raise as `Trips` does. Methods about an invitation raise `NotOnboarded`, `NotFound` (also
    for an invitation to a deleted trip) and, unless the caller is the invitee, `EmailMismatch`.
    """

    async def invite(
        self,
        command: Command,
        email: str,
        role: Role,
        *,
        invitation_id: InvitationId,
        user_id: UserId | None = None,
    ) -> Invitation:
        """Store an invitation, or renew the pending one to that address and mail it again.

        A renewal within 30 s of the last mail sends no mail, so that a phone may repeat a request; nor do more
        than `MAX_MAILS` mails to one address. `user_id` is the invitee if `email` is `email_of_user`.

        Raises:
            Conflict: the address belongs to an ACTIVE member.
            NotFound: no such user.
            Forbidden: the role is above the caller's.
        """
        ...

    async def list_for_trip(self, access: Access) -> Sequence[Invitation]:
        """The trip's invitations of every status, newest first; at most 500."""
        ...

    async def revoke(self, access: Access, invitation_id: InvitationId, *, now: datetime) -> None:
        """Revoke a pending invitation of the trip.

        Raises:
            NotPending: the invitation was answered or revoked.
        """
        ...

    async def details(self, invitation_id: InvitationId, caller: UserId | None) -> InvitationDetails:
        """The details for the invitee. Without a caller the invitation's link was the proof."""
        ...

    async def get_for_mail(self, invitation_id: InvitationId) -> tuple[Invitation, InvitationDetails] | None:
        """The current invitation, for its mail; None once it or its trip is deleted."""
        ...

    async def mail_sent(self, invitation_id: InvitationId, event_id: EventId, *, now: datetime) -> None:
        """Record that the mail of an event was sent, unless a later event asked for another one."""
        ...

    async def list_to_remind(self, expires_until: datetime, *, now: datetime, limit: int) -> Sequence[ToRemind]:
        """Pending invitations that expire until then, whose mail was sent and that have had no reminder.

        Without those that could not be accepted: the inviter may not give the role any more, the invitee is a
        member already, or the trip is deleted.
        """
        ...

    async def remind(self, invitation: ToRemind, *, now: datetime) -> bool:
        """Write the event of a reminder, once for an expiry. Returns False if it was written or is obsolete.

        Its mail counts as one of the `MAX_MAILS` to the address; beyond these only the notification follows.
        """
        ...

    async def expire(self, *, now: datetime, limit: int) -> int:
        """Delete the notifications of pending invitations that have expired; returns the number of invitations.

        Their status stays PENDING: clients compare `expiresAt`, and a renewal makes them valid again.
        """
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
        """Join the trip with the invited role. A repeat by the same user returns the membership.

        Raises:
            NotPending, Expired: the invitation was answered or revoked, or has expired.
            InviterNotAllowed: the inviter has left the trip or may not give the role any more.
            Conflict: the caller is on too many trips, or the trip is full.
        """
        ...

    async def decline(
        self, invitation_id: InvitationId, caller: UserId, *, event_id: EventId, now: datetime
    ) -> None:
        """Decline the invitation. A repeat by the same user changes nothing.

        Raises:
            NotPending, Expired: the invitation was answered or revoked, or has expired.
        """
        ...
