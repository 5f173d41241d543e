"""Accounts and sessions."""

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from nomadcrew.core.ids import SessionId, UserId
from nomadcrew.core.users.model import Profile

ACCESS_LIFETIME = timedelta(minutes=15)
REFRESH_LIFETIME = timedelta(days=30)
REUSE_GRACE = timedelta(seconds=30)
CONFIRMATION_LIFETIME = timedelta(hours=24)
RESET_LIFETIME = timedelta(minutes=30)
EMAIL_CHANGE_LIFETIME = timedelta(minutes=30)
MFA_TOKEN_LIFETIME = timedelta(minutes=5)  # for the code, after the password
MAX_USER_AGENT = 400
MAX_LISTED_SESSIONS = 100


class AccountChange(StrEnum):
    """A change of which a mail tells the user, who may not have made it."""

    PASSWORD = "password"  # noqa: S105 — the kind of change
    EMAIL = "email"
    NEW_DEVICE = "new_device"
    TOTP_ENABLED = "totp_enabled"
    TOTP_DISABLED = "totp_disabled"
    IDENTITY_LINKED = "identity_linked"
    IDENTITY_UNLINKED = "identity_unlinked"


class Account(Struct, frozen=True):
    """An account of this site.

    `confirmed` is True once the user has proven to receive mail at the address, `has_totp` if sign-ins need a code.
    """

    profile: Profile
    is_admin: bool = False
    confirmed: bool = False
    has_totp: bool = False

    @property
    def user_id(self) -> UserId:
        return self.profile.id


class Provider(StrEnum):
    """A service whose users may sign in."""

    APPLE = "apple"
    GOOGLE = "google"


class IdToken(Struct, frozen=True):
    """A verified ID token. `email` is None unless the provider has verified it."""

    provider: Provider
    subject: str
    email: str | None
    first_name: str = ""
    last_name: str = ""


class Identity(Struct, frozen=True):
    """A user's account at a provider, linked to the account here."""

    provider: Provider
    created_at: datetime


class Session(Struct, frozen=True):
    """A signed-in device: the family of refresh tokens from one sign-in."""

    id: SessionId
    account: Account
    expires_at: datetime


class ListedSession(Struct, frozen=True):
    """A session in the list of its user.

    `user_agent` is the device's name for itself at the sign-in; `last_used_at` is the time of the sign-in or of the
    latest exchange of tokens.
    """

    id: SessionId
    user_agent: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


class MfaStatus(Struct, frozen=True):
    """The second factors of an account."""

    totp: bool
    recovery_codes_left: int


class SignedIn(Struct, frozen=True):
    """The result of signing in: tokens for the client to store, and the profile.

    The device token proves at the next sign-in that the device signed in before; an exchange of tokens has none.
    """

    access_token: str
    refresh_token: str
    expires_in_s: int
    profile: Profile
    device_token: str | None = None
