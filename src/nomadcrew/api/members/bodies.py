"""Bodies of the member routes."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from nomadcrew.core.members.model import Membership
from nomadcrew.core.trips.model import TripMember


class RoleIn(Struct):
    role: Annotated[str, Meta(max_length=16)]


class NewMemberIn(Struct, rename="camel"):
    user_id: UUID
    role: Annotated[str, Meta(max_length=16)]


class MembershipView(Struct, rename="camel"):
    id: UUID
    trip_id: UUID
    user_id: UUID
    role: str
    status: str
    created_at: datetime
    updated_at: datetime


class PersonView(Struct, rename="camel", omit_defaults=True):
    """A user, as shown with a membership."""

    id: UUID
    email: str
    username: str
    first_name: str = ""
    last_name: str = ""
    avatar_url: str = ""
    display_name: str = ""


class MemberWithPersonView(Struct):
    membership: MembershipView
    user: PersonView


def membership_view(membership: Membership | TripMember) -> MembershipView:
    return MembershipView(
        id=membership.id,
        trip_id=membership.trip_id,
        user_id=membership.user_id,
        role=membership.role,
        status=membership.status,
        created_at=membership.created_at,
        updated_at=membership.updated_at,
    )


def member_with_person(member: TripMember) -> MemberWithPersonView:
    return MemberWithPersonView(
        membership_view(member),
        PersonView(
            id=member.user_id,
            email=member.email,
            username=member.username,
            first_name=member.first_name,
            last_name=member.last_name,
            avatar_url=member.avatar_url,
            display_name=member.name,
        ),
    )
