"""Invitations: /v1/trips/{id}/invitations and /v1/invitations."""

from urllib.parse import quote

from nomadcrew.api.invitations.bodies import (
    InvitationDetailsView,
    InvitationView,
    NewInvitationIn,
    TokenIn,
    invitation_details_view,
    invitation_for,
)
from nomadcrew.api.members.bodies import MembershipView, membership_view
from nomadcrew.core.errors import Invalid, NotFound
from nomadcrew.core.ids import InvitationId
from nomadcrew.core.invitations import service
from nomadcrew.core.invitations.errors import BadInvitationToken
from nomadcrew.core.invitations.model import Invitation, InvitationStatus
from nomadcrew.core.members.model import parse_role
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.routes import Auth, Gate, Param, Routes

routes = Routes(
    "invitations",
    ports=(
        "idempotency",
        "invitation_links",
        "invitations",
        "limits",
        "open_sessions",
        "outbox",
        "private_addresses",
    ),
)
TOKEN = Param("token", "string", "The token of an invitation's link.")


def invitation_id(call: Call) -> InvitationId:
    """The invitation id in the path.

    Raises:
        NotFound: the id is malformed.
    """
    return InvitationId(call.id("invitationId", NotFound("invitation", code="invitation_not_found")))


def view(invitation: Invitation, call: Call) -> InvitationView:
    return invitation_for(invitation, call.user_id, call.ports.private_addresses)


def linked(call: Call, token: str) -> InvitationId:
    """The invitation id in a link's token."""
    return call.ports.invitation_links.read(token, now=call.now)


@routes.post("/v1/trips/{id}/invitations", status=201, bucket="invite", gate=Gate("invitation", "create"),
             refusals=(409,))  # fmt: skip
async def create_invitation(call: Call, body: NewInvitationIn) -> InvitationView:
    """Invite a user by email.

    An open invitation to the address is renewed and mailed again. The address may be one from a search.
    """
    invitation = await service.invite(
        call.trip_id,
        body.email,
        parse_role(body.role),
        call.user_id,
        invitations=call.ports.invitations,
        private_addresses=call.ports.private_addresses,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return view(invitation, call)


@routes.get("/v1/trips/{id}/invitations", gate=Gate("invitation", "read"))
async def list_invitations(call: Call) -> list[InvitationView]:
    """List a trip's invitations, newest first."""
    invitations = await service.list_invitations(call.trip_id, call.user_id, invitations=call.ports.invitations)
    return [view(invitation, call) for invitation in invitations]


@routes.delete("/v1/trips/{id}/invitations/{invitationId}", status=204, gate=Gate("invitation", "delete"),
               refusals=(400,))  # fmt: skip
async def revoke_invitation(call: Call) -> None:
    """Revoke an open invitation."""
    await service.revoke_invitation(
        call.trip_id, invitation_id(call), call.user_id, invitations=call.ports.invitations, now=call.now
    )


@routes.get("/v1/invitations/join", auth=Auth.PUBLIC, query=(TOKEN,), status=302, html=True, statements=0,
            why="only a site with an app reads the invitation")  # fmt: skip
async def join_by_link(call: Call) -> Reply:
    """Redirect a browser from an old invitation link to its page: the app's, or ours if the site has no app."""
    site = call.ports.site
    token = call.query("token")
    if site.app_url is None:
        return Reply(302, headers={"location": f"{site.public_url}/invite/accept/{quote(token or '-', safe='')}"})
    return Reply(302, headers={"location": site.app_url + await _page(call, token)})


async def _page(call: Call, token: str | None) -> str:
    if not token:
        return "/join-trip?error=missing_token"
    try:
        details = await service.invitation_details(linked(call, token), None, invitations=call.ports.invitations)
    except BadInvitationToken:
        return "/join-trip?error=invalid_token"
    except NotFound:
        return "/join-trip?error=invitation_not_found"
    if details.status == InvitationStatus.ACCEPTED:
        return f"/trips/{details.trip_id}?message=already_joined"
    if details.status != InvitationStatus.PENDING:
        return f"/join-trip?error=invitation_processed&status={details.status}"
    return f"/join-trip?token={quote(token, safe='')}"


@routes.get("/v1/invitations/details", auth=Auth.PUBLIC, query=(TOKEN,), refusals=(400, 401, 404))
async def get_invitation_by_link(call: Call) -> InvitationDetailsView:
    """Get the invitation of a link."""
    token = call.query("token")
    if not token:
        raise Invalid("The link has no token.", code="missing_token")
    details = await service.invitation_details(linked(call, token), None, invitations=call.ports.invitations)
    return invitation_details_view(details)


@routes.post("/v1/invitations/accept", bucket="invite", refusals=(403, 404, 409))
async def accept_by_link(call: Call, body: TokenIn) -> MembershipView:
    """Accept an invitation with the token of its link."""
    return await _accept(call, linked(call, body.token))


@routes.post("/v1/invitations/decline", status=204, bucket="invite", refusals=(403, 404))
async def decline_by_link(call: Call, body: TokenIn) -> None:
    """Decline an invitation with the token of its link."""
    await _decline(call, linked(call, body.token))


@routes.get("/v1/invitations/{invitationId}", refusals=(403, 404))
async def get_invitation(call: Call) -> InvitationDetailsView:
    """Get an invitation to the caller."""
    details = await service.invitation_details(
        invitation_id(call), call.user_id, invitations=call.ports.invitations
    )
    return invitation_details_view(details)


@routes.post("/v1/invitations/{invitationId}/accept", bucket="invite", refusals=(400, 403, 404, 409))
async def accept_invitation(call: Call) -> MembershipView:
    """Accept an invitation to the caller.

    Accepting again returns the same membership.
    """
    return await _accept(call, invitation_id(call))


@routes.post("/v1/invitations/{invitationId}/decline", status=204, bucket="invite", refusals=(400, 403, 404))
async def decline_invitation(call: Call) -> None:
    """Decline an invitation to the caller."""
    await _decline(call, invitation_id(call))


async def _accept(call: Call, invitation: InvitationId) -> MembershipView:
    membership = await service.accept_invitation(
        invitation, call.user_id, invitations=call.ports.invitations, new_id=call.ports.new_id, now=call.now
    )
    return membership_view(membership)


async def _decline(call: Call, invitation: InvitationId) -> None:
    await service.decline_invitation(
        invitation, call.user_id, invitations=call.ports.invitations, new_id=call.ports.new_id, now=call.now
    )
