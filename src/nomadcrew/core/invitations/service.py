"""Invitations: creating, revoking and answering."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.core.access import Access, Command
from nomadcrew.core.emails import is_private, parse_email
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import EventId, InvitationId, MembershipId, NewId, TripId, UserId
from nomadcrew.core.invitations.model import Invitation, InvitationDetails, email_of_user
from nomadcrew.core.invitations.ports import Invitations
from nomadcrew.core.members.model import Membership, OwnerRoleForbidden
from nomadcrew.core.permissions import Role, rule
from nomadcrew.core.users.ports import PrivateAddresses


async def invite(
    trip_id: TripId,
    email: str,
    role: Role,
    caller: UserId,
    *,
    invitations: Invitations,
    private_addresses: PrivateAddresses,
    new_id: NewId,
    now: datetime,
) -> Invitation:
    """Offer a role on the trip to an email address. Mail and notification follow from the event.

    The address may be a private address that the caller was shown.

    Raises:
        Invalid: the address is malformed.
        OwnerRoleForbidden: the role is OWNER.
        DomainError: as `Invitations.invite` says.
    """
    user_id = private_addresses.user_of(email, caller)
    address = parse_email(email) if user_id is None else email_of_user(user_id)
    if role is Role.OWNER:
        raise OwnerRoleForbidden
    if user_id is None and is_private(address):
        raise Invalid("This address names no user. Search for the user again.", code="invalid_request_payload")
    return await invitations.invite(
        Command(trip_id, caller, rule("invitation", "create"), EventId(new_id()), now),
        address,
        role,
        invitation_id=InvitationId(new_id()),
        user_id=user_id,
    )


async def list_invitations(trip_id: TripId, caller: UserId, *, invitations: Invitations) -> Sequence[Invitation]:
    return await invitations.list_for_trip(Access(trip_id, caller, rule("invitation", "read")))


async def revoke_invitation(
    trip_id: TripId, invitation_id: InvitationId, caller: UserId, *, invitations: Invitations, now: datetime
) -> None:
    await invitations.revoke(Access(trip_id, caller, rule("invitation", "delete")), invitation_id, now=now)


async def invitation_details(
    invitation_id: InvitationId, caller: UserId | None, *, invitations: Invitations
) -> InvitationDetails:
    """The details for the invitee. Without a caller the invitation's link was the proof."""
    return await invitations.details(invitation_id, caller)


async def accept_invitation(
    invitation_id: InvitationId, caller: UserId, *, invitations: Invitations, new_id: NewId, now: datetime
) -> Membership:
    """Join the trip. A repeat by the same user returns the membership."""
    return await invitations.accept(
        invitation_id, caller, membership_id=MembershipId(new_id()), event_id=EventId(new_id()), now=now
    )


async def decline_invitation(
    invitation_id: InvitationId, caller: UserId, *, invitations: Invitations, new_id: NewId, now: datetime
) -> None:
    await invitations.decline(invitation_id, caller, event_id=EventId(new_id()), now=now)
