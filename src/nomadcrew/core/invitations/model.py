"""An invitation: a role on a trip, offered to an email address for seven days."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import InvitationId, TripId, UserId
from nomadcrew.core.names import display_name
from nomadcrew.core.users.rules import PRIVATE_DOMAIN

LIFETIME = timedelta(days=7)
RESEND_PAUSE = timedelta(seconds=30)
MAX_EMAIL = 255
_NOT_IN_ADDRESS = r"@\s\x00-\x1f<>\"',;:\\()\[\]"
_EMAIL = re.compile(rf"[^{_NOT_IN_ADDRESS}]{{1,64}}@([^{_NOT_IN_ADDRESS}_.]+\.)+[^{_NOT_IN_ADDRESS}_.]{{2,}}")


class InvitationStatus(StrEnum):
    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    DECLINED = "DECLINED"


@dataclass(frozen=True, slots=True)
class Invitation:
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


@dataclass(frozen=True, slots=True)
class InvitationDetails:
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


def is_private(email: str) -> bool:
    """True if the address stands for a user, so that no mail can be sent to it."""
    return email.endswith(f"@{PRIVATE_DOMAIN}")


def parse_email(text: str) -> str:
    """The email address, trimmed and in lower case.

    Raises:
        Invalid: the address is malformed or longer than 255 characters.
    """
    email = text.strip().lower()
    if len(email) > MAX_EMAIL or not _EMAIL.fullmatch(email) or ".." in email:
        raise Invalid("Not a valid email address.", code="invalid_request_payload")
    return email
