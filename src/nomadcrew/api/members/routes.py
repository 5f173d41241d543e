"""Members of a trip: /v1/trips/{id}/members."""

from nomadcrew.api.members.bodies import (
    MembershipView,
    MemberWithPersonView,
    NewMemberIn,
    RoleIn,
    member_with_person,
    membership_view,
)
from nomadcrew.api.members.presence import PresenceView, presence_view
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import UserId
from nomadcrew.core.members import service
from nomadcrew.core.members.model import parse_role
from nomadcrew.core.presence.service import trip_presence
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Gate, Routes

routes = Routes(
    "members", ports=("idempotency", "invitations", "limits", "members", "open_sessions", "outbox", "presence")
)


def target(call: Call) -> UserId:
    """The member's user id in the path.

    Raises:
        NotFound: the id is malformed.
    """
    return UserId(call.id("userId", NotFound("member", code="member_not_found")))


@routes.get("/v1/trips/{id}/members", gate=Gate("member", "read"))
async def list_members(call: Call) -> list[MemberWithPersonView]:
    """List a trip's active members, oldest first."""
    members = await service.list_members(call.trip_id, call.user_id, members=call.ports.members)
    return [member_with_person(member) for member in members]


@routes.get("/v1/trips/{id}/presence", gate=Gate("presence", "read"))
async def list_presence(call: Call) -> list[PresenceView]:
    """List the members' presence: online, or last seen.

    A member in ghost mode is shown offline and without a last seen time.
    """
    members = await trip_presence(call.trip_id, call.user_id, presence=call.ports.presence, now=call.now)
    return [presence_view(member) for member in members]


@routes.post("/v1/trips/{id}/members", status=201, bucket="invite", gate=Gate("member", "create"), refusals=(409,),
             statements=2, why="a user who must consent first is invited")  # fmt: skip
async def add_member(call: Call, body: NewMemberIn) -> MembershipView:
    """Add a user to the trip.

    An active member is returned unchanged. A user who never shared a trip with the caller, left this one or
    declined it is invited: `status` is `INVITED` until they accept, and `id` is the invitation's.
    """
    membership = await service.add_member(
        call.trip_id,
        UserId(body.user_id),
        parse_role(body.role),
        call.user_id,
        members=call.ports.members,
        invitations=call.ports.invitations,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return membership_view(membership)


@routes.delete("/v1/trips/{id}/members/{userId}", status=204, gate=Gate("member", "remove"), refusals=(400,))
async def remove_member(call: Call) -> None:
    """Remove a member, or leave the trip.

    Any member except the last owner may leave. Admins may remove members; the owner may also remove admins.
    """
    await service.remove_member(
        call.trip_id,
        target(call),
        call.user_id,
        members=call.ports.members,
        new_id=call.ports.new_id,
        now=call.now,
    )


@routes.put("/v1/trips/{id}/members/{userId}/role", gate=Gate("member", "change_role"))
async def change_role(call: Call, body: RoleIn) -> MembershipView:
    """Change a member's role.

    An owner who assigns OWNER hands the trip over and becomes ADMIN.
    """
    membership = await service.change_role(
        call.trip_id,
        target(call),
        parse_role(body.role),
        call.user_id,
        members=call.ports.members,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return membership_view(membership)
