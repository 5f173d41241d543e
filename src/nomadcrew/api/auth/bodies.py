"""Bodies of /v1/auth. Field names follow OAuth."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from nomadcrew.api.users.bodies import Text, UserProfile, own_profile
from nomadcrew.core.auth.accounts import SignUp
from nomadcrew.core.auth.model import ListedSession, SignedIn
from nomadcrew.core.claims import Claims
from nomadcrew.core.users.model import Profile

Password = Annotated[str, Meta(min_length=1, max_length=1024)]
Secret = Annotated[str, Meta(min_length=1, max_length=512)]


class RegisterIn(Struct, rename="camel"):
    """A new account. A password has 8 to 128 characters: lower and upper case, a digit and a symbol."""

    email: Text
    password: Password
    username: Text | None = None
    first_name: Text | None = None
    last_name: Text | None = None

    def to_sign_up(self) -> SignUp:
        return SignUp(self.email, self.password, self.username, self.first_name or "", self.last_name or "")


class LoginIn(Struct):
    """An email address or a username, and the password.

    A client that sends the `device_token` of an earlier sign-in is not affected by failures of others.
    """

    password: Password
    email: Text | None = None
    username: Text | None = None
    device_token: Secret | None = None

    def __post_init__(self) -> None:
        if not self.login:
            raise ValueError("`email` or `username` is required")

    @property
    def login(self) -> str:
        return self.email or self.username or ""


class RefreshIn(Struct):
    refresh_token: Secret


class ConfirmIn(Struct):
    """The token from the mail, and the password of the registration."""

    token: Secret
    password: Password


class AddressIn(Struct):
    email: Text


class ResetPasswordIn(Struct):
    """The token from the mail, and the new password."""

    token: Secret
    password: Password


class ChangePasswordIn(Struct):
    """The present password and the new one, and the `device_token` of an earlier sign-in as in `LoginIn`."""

    password: Password
    new_password: Password
    device_token: Secret | None = None


class ChangeEmailIn(Struct):
    """The new address and the password, and the `device_token` of an earlier sign-in as in `LoginIn`."""

    email: Text
    password: Password
    device_token: Secret | None = None


class TokenIn(Struct):
    """The token from the mail."""

    token: Secret


class PasswordIn(Struct):
    """The present password, and the `device_token` of an earlier sign-in as in `LoginIn`."""

    password: Password
    device_token: Secret | None = None


class CodeIn(Struct):
    """A code of six digits from the authenticator app; or, where it says so, a recovery code."""

    code: Secret


class MfaVerifyIn(Struct):
    """The `mfa_token` of the interrupted sign-in, and a code of the authenticator app or a recovery code.

    The `device_token` of an earlier sign-in is as in `LoginIn`.
    """

    mfa_token: Secret
    code: Secret
    device_token: Secret | None = None


class TotpView(Struct):
    """An authenticator app to set up: `uri` is the content of the QR code, `secret` the text to type instead.

    Each of the `recovery_codes` replaces one code of the app, once. They are shown this once only.
    """

    secret: str
    uri: str
    recovery_codes: Sequence[str]


class MfaView(Struct):
    """`totp` is true if sign-ins need a code. The number is that of unused recovery codes."""

    totp: bool
    recovery_codes_left: int


class MailView(Struct):
    """The reply of requests for mails, the same for every address."""

    message: str = "If the address is known here, a mail is on its way."


class SignedInView(Struct):
    """Tokens for a client to store; the access token is valid for `expires_in` seconds."""

    access_token: str
    refresh_token: str
    expires_in: int
    user: UserProfile
    token_type: str = "bearer"  # noqa: S105 — the scheme, no secret
    device_token: str | UnsetType = UNSET


class ConfirmationRequired(Struct):
    confirmation_required: bool = True


class ValidView(Struct):
    valid: bool
    expires_at: datetime
    user: UserProfile


class SessionView(Struct):
    """A signed-in device. `user_agent` is the device's name for itself; `current` marks the caller's."""

    id: UUID
    user_agent: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    current: bool


class SessionsView(Struct):
    sessions: list[SessionView]


class PublicKey(Struct):
    kid: str
    kty: str
    alg: str
    use: str
    n: str
    e: str


class PublicKeys(Struct):
    """A JSON Web Key Set."""

    keys: list[PublicKey]


def signed_in_view(signed_in: SignedIn) -> SignedInView:
    return SignedInView(
        signed_in.access_token,
        signed_in.refresh_token,
        signed_in.expires_in_s,
        own_profile(signed_in.profile),
        device_token=signed_in.device_token or UNSET,
    )


def sessions_view(listed: Sequence[ListedSession], claims: Claims) -> SessionsView:
    return SessionsView(
        [
            SessionView(
                each.id,
                each.user_agent,
                each.created_at,
                each.last_used_at,
                each.expires_at,
                current=each.id == claims.session_id,
            )
            for each in listed
        ]
    )


def valid_view(claims: Claims, profile: Profile) -> ValidView:
    return ValidView(True, claims.expires_at, own_profile(profile))
