"""Bodies of the invitation routes."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from nomadcrew.core.emails import is_private
from nomadcrew.core.ids import UserId
from nomadcrew.core.invitations.model import Invitation, InvitationDetails
from nomadcrew.core.users.ports import PrivateAddresses


class NewInvitationIn(Struct):
    email: Annotated[str, Meta(min_length=3, max_length=255)]
    role: Annotated[str, Meta(max_length=16)]


class TokenIn(Struct):
    token: Annotated[str, Meta(min_length=1, max_length=4096)]


class InvitationView(Struct, rename="camel", omit_defaults=True):
    """An invitation, without its secret link."""

    id: UUID
    trip_id: UUID
    inviter_id: str
    invitee_email: str
    email: str
    role: str
    status: str
    expires_at: datetime
    created_at: datetime
    updated_at: datetime
    invitee_id: UUID | None = None


class InvitedTripView(Struct, rename="camel", omit_defaults=True):
    id: UUID
    name: str
    start_date: datetime
    end_date: datetime
    description: str = ""


class InviterView(Struct, rename="camel", omit_defaults=True):
    """The inviter. `email` is always empty: the address is private."""

    id: UUID
    email: str
    username: str
    first_name: str = ""
    last_name: str = ""
    avatar_url: str = ""
    avatar_url_alias: str = msgspec.field(name="avatarURL", default="")
    display_name: str = ""


class InvitationDetailsView(Struct, rename="camel"):
    id: UUID
    trip_id: UUID
    email: str
    status: str
    role: str
    created_at: datetime
    expires_at: datetime
    trip: InvitedTripView
    member_count: int
    inviter: InviterView | UnsetType = UNSET


def invitation_view(invitation: Invitation, email: str) -> InvitationView:
    """An invitation; `email` is the invitee's address as the viewer may see it."""
    return InvitationView(
        id=invitation.id,
        trip_id=invitation.trip_id,
        inviter_id=str(invitation.inviter_id or ""),
        invitee_email=email,
        email=email,
        role=invitation.role,
        status=invitation.status,
        expires_at=invitation.expires_at,
        created_at=invitation.created_at,
        updated_at=invitation.updated_at,
        invitee_id=invitation.invitee_id,
    )


def invitation_for(invitation: Invitation, viewer: UserId, private_addresses: PrivateAddresses) -> InvitationView:
    """An invitation; a private address is the one of ours that stands for the invitee to this viewer."""
    email, user_id = invitation.invitee_email, invitation.invitee_id
    if is_private(email) and user_id is not None:
        email = private_addresses.address_of(user_id, viewer)
    return invitation_view(invitation, email)


def invitation_details_view(details: InvitationDetails) -> InvitationDetailsView:
    inviter: InviterView | UnsetType = UNSET
    if details.inviter_id is not None:
        inviter = InviterView(
            id=details.inviter_id,
            email="",
            username=details.inviter_username,
            first_name=details.inviter_first_name,
            last_name=details.inviter_last_name,
            avatar_url=details.inviter_avatar_url,
            avatar_url_alias=details.inviter_avatar_url,
            display_name=details.inviter_name,
        )
    return InvitationDetailsView(
        id=details.id,
        trip_id=details.trip_id,
        email=details.email,
        status=details.status,
        role=details.role,
        created_at=details.created_at,
        expires_at=details.expires_at,
        trip=InvitedTripView(
            id=details.trip_id,
            name=details.trip_name,
            start_date=details.trip_start_date,
            end_date=details.trip_end_date,
            description=details.trip_description,
        ),
        member_count=details.member_count,
        inviter=inviter,
    )
