"""Members: adding, removing and roles."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, InvitationId, MembershipId, NewId, TripId, UserId
from nomadcrew.core.invitations.model import email_of_user
from nomadcrew.core.invitations.ports import Invitations
from nomadcrew.core.members.model import INVITED, Membership, OwnerRoleForbidden
from nomadcrew.core.members.ports import Members
from nomadcrew.core.permissions import Role, rule
from nomadcrew.core.trips.model import TripMember


async def list_members(trip_id: TripId, caller: UserId, *, members: Members) -> Sequence[TripMember]:
    return await members.list_for_trip(Access(trip_id, caller, rule("member", "read")))


async def add_member(
    trip_id: TripId,
    user_id: UserId,
    role: Role,
    caller: UserId,
    *,
    members: Members,
    invitations: Invitations,
    new_id: NewId,
    now: datetime,
) -> Membership:
    """Add a user to the trip, or invite a user who has to consent first: then the membership is INVITED.

    Raises:
        OwnerRoleForbidden: the role is OWNER.
        DomainError: as `Members.add` and `Invitations.invite` say.
    """
    if role is Role.OWNER:
        raise OwnerRoleForbidden
    command = Command(trip_id, caller, rule("member", "create"), EventId(new_id()), now)
    membership = await members.add(command, user_id, role, membership_id=MembershipId(new_id()))
    if membership is not None:
        return membership
    invitation = await invitations.invite(
        command, email_of_user(user_id), role, invitation_id=InvitationId(new_id()), user_id=user_id
    )
    return Membership(
        MembershipId(invitation.id),
        trip_id,
        user_id,
        invitation.role,
        INVITED,
        invitation.created_at,
        invitation.updated_at,
    )


async def remove_member(
    trip_id: TripId, user_id: UserId, caller: UserId, *, members: Members, new_id: NewId, now: datetime
) -> None:
    """Leave the trip, or remove another member."""
    allowed = rule("member", "leave" if user_id == caller else "remove")
    await members.remove(Command(trip_id, caller, allowed, EventId(new_id()), now), user_id)


async def change_role(
    trip_id: TripId,
    user_id: UserId,
    role: Role,
    caller: UserId,
    *,
    members: Members,
    new_id: NewId,
    now: datetime,
) -> Membership:
    """Change a member's role. An owner who assigns OWNER hands the trip over and becomes ADMIN."""
    return await members.change_role(
        Access(trip_id, caller, rule("member", "change_role")),
        user_id,
        role,
        event_ids=(EventId(new_id()), EventId(new_id())),
        now=now,
    )
