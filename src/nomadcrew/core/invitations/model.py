"""An invitation: a role on a trip, offered to an email address for seven days."""

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from nomadcrew.core.emails import PRIVATE_DOMAIN
from nomadcrew.core.ids import InvitationId, TripId, UserId
from nomadcrew.core.names import display_name

LIFETIME = timedelta(days=7)
RESEND_PAUSE = timedelta(seconds=30)
REMINDED_BEFORE = timedelta(days=2)  # before it expires


class InvitationStatus(StrEnum):
    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    DECLINED = "DECLINED"


class Invitation(Struct, frozen=True):
    id: InvitationId
    trip_id: TripId
    inviter_id: UserId | None
    invitee_email: str
    invitee_id: UserId | None
    role: str
    status: str
    expires_at: datetime
    created_at: datetime
    updated_at: datetime


class ToRemind(Struct, frozen=True):
    """An invitation whose reminder is due."""

    id: InvitationId
    invitee_email: str


class InvitationDetails(Struct, frozen=True):
    """The details that an invitee may read before joining, without the inviter's email address.

    `email` is the address of the invitee's account, or the invited address if no account is known.
    """

    id: InvitationId
    trip_id: TripId
    email: str
    status: str
    role: str
    created_at: datetime
    expires_at: datetime
    trip_name: str
    trip_description: str
    trip_start_date: datetime
    trip_end_date: datetime
    inviter_id: UserId | None
    inviter_username: str
    inviter_first_name: str
    inviter_last_name: str
    inviter_avatar_url: str
    member_count: int

    @property
    def inviter_name(self) -> str:
        return display_name(self.inviter_first_name, self.inviter_last_name, self.inviter_username)


def email_of_user(user_id: UserId) -> str:
    """The `invitee_email` of an invitation to a user whose address the inviter does not know."""
    return f"{user_id}@{PRIVATE_DOMAIN}"
