"""A membership as stored, and the refusals around roles."""

from datetime import datetime

from msgspec import Struct

from nomadcrew.core.errors import Forbidden, Invalid
from nomadcrew.core.ids import MembershipId, TripId, UserId
from nomadcrew.core.permissions import Role

INVITED = "INVITED"  # the status of a user who was added, and has to accept an invitation first


class Membership(Struct, frozen=True):
    id: MembershipId
    trip_id: TripId
    user_id: UserId
    role: str
    status: str
    created_at: datetime
    updated_at: datetime


class OwnerImmutable(Forbidden):
    code = "owner_immutable"
    text = "Only the owner can change the owner's role, by giving the role to another member."


class OwnerRoleForbidden(Forbidden):
    code = "owner_role_forbidden"
    text = "A user cannot be added or invited as owner. Change the member's role later."


class LastOwner(Invalid):
    code = "last_owner"
    text = "Cannot remove last owner"


def parse_role(text: str) -> Role:
    """The role named by `text`, in any case.

    Raises:
        Invalid: the text names no role.
    """
    try:
        return Role(text.strip().upper())
    except ValueError:
        raise Invalid("`role` must be owner, admin or member.", code="invalid_role") from None
