"""Members: adding, removing and roles."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, MembershipId, NewId, TripId, UserId
from nomadcrew.core.members.model import Membership, OwnerRoleForbidden
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
    new_id: NewId,
    now: datetime,
) -> Membership:
    """Add a user to the trip without an invitation.

    Raises:
        OwnerRoleForbidden: the role is OWNER.
        DomainError: as `Members.add` says.
    """
    if role is Role.OWNER:
        raise OwnerRoleForbidden
    return await members.add(
        Command(trip_id, caller, rule("member", "create"), EventId(new_id()), now),
        user_id,
        role,
        membership_id=MembershipId(new_id()),
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
