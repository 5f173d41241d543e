"""Ports of accounts, registrations, sessions and tokens."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NewType, Protocol
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.auth.model import (
    Account,
    IdToken,
    ListedSession,
    Session,
)
from nomadcrew.core.claims import Claims
from nomadcrew.core.ids import EventId, SessionId, UserId

RegistrationId = NewType("RegistrationId", UUID)
PasswordResetId = NewType("PasswordResetId", UUID)
EmailChangeId = NewType("EmailChangeId", UUID)
DeviceId = NewType("DeviceId", UUID)


class NewAccount(Struct, frozen=True):
    """An account to create, with the first free name of `usernames`."""

    user_id: UserId
    email: str
    usernames: tuple[str, ...]
    first_name: str
    last_name: str


class Credentials(Struct, frozen=True):
    """The credentials of an account, or of an unconfirmed registration.

    `password_hash` is opaque: an adapter that stores passwords elsewhere puts a marker there.
    """

    password_hash: str
    account: Account | None = None
    registration_id: RegistrationId | None = None


class Registration(Struct, frozen=True):
    """An unconfirmed registration, with the fields of its mail."""

    id: RegistrationId
    email: str
    username: str
    expires_at: datetime


class PasswordReset(Struct, frozen=True):
    """A request for a new password that can still be used."""

    id: PasswordResetId
    account: Account
    expires_at: datetime


class EmailChange(Struct, frozen=True):
    """A request for another email address that can still be used."""

    id: EmailChangeId
    account: Account
    email: str
    expires_at: datetime


class KnownDevice(Struct, frozen=True):
    """A kind of device on which the account signed in, at `created_at` for the first time."""

    account: Account
    user_agent: str
    created_at: datetime


class AccountPage(Struct, frozen=True):
    items: Sequence[Account]
    total: int


class Registrations(Protocol):
    """Registrations and their accounts, without passwords."""

    async def confirm(self, registration_id: RegistrationId, suffix: str, *, now: datetime) -> Account:
        """Turn a stored registration into an account with the same id.

        `suffix` is appended to the username if it was taken meanwhile.

        Raises:
            InvalidConfirmation: no such registration, or it has expired.
            ConfirmationUsed: this registration, or another one for the address, is confirmed already.
        """
        ...

    async def get_pending(self, registration_id: RegistrationId, *, now: datetime) -> Registration | None:
        """The registration for its mail; None if it can no longer be confirmed."""
        ...

    async def get_account(self, user_id: UserId) -> Account | None: ...

    async def get_reset(self, reset_id: PasswordResetId, *, now: datetime) -> PasswordReset | None:
        """The reset; None if it was used, replaced, or has expired."""
        ...

    async def get_email_change(self, change_id: EmailChangeId, *, now: datetime) -> EmailChange | None:
        """The change; None if it was made, replaced, or has expired."""
        ...

    async def get_former_email(self, change_id: EmailChangeId) -> str | None:
        """The address that a change replaced."""
        ...

    async def get_device(self, device_id: DeviceId) -> KnownDevice | None: ...


class Accounts(Registrations, Protocol):
    """Accounts of this site, with credentials and profiles."""

    async def register(
        self, new: NewAccount, password: str, *, confirmed: bool, now: datetime, identity: IdToken | None = None
    ) -> Account:
        """Create account and profile together; `confirmed` says whether the address is proven.

        A repeat with the address and password of an existing account returns that account. With an identity, it is
        linked, and the password counts as unknown to the user.

        Raises:
            EmailTaken: an account with the address and another password exists.
            UsernameTaken: none of the usernames is free.
        """
        ...

    async def request(
        self, new: NewAccount, password: str, registration_id: RegistrationId, event_id: EventId, *, now: datetime
    ) -> None:
        """Store a registration until its address is confirmed, and cause its mail.

        The caller does not learn whether the address has an account: the account's owner gets a mail about it, once
        an hour at most. A repeat within a minute sends no mail; nor do more than five an hour.

        Raises:
            UsernameTaken: none of the usernames is free.
        """
        ...

    async def remind(self, registration_id: RegistrationId, event_id: EventId, *, now: datetime) -> None:
        """Mail the link again, at most once every five minutes."""
        ...

    async def remind_address(self, email: str, event_id: EventId, *, now: datetime) -> None:
        """As `remind`, for the pending registration of an address, if there is one."""
        ...

    async def request_reset(
        self, email: str, reset_id: PasswordResetId, event_id: EventId, *, now: datetime
    ) -> None:
        """Store a reset for the account of an address, if there is one, and cause its mail.

        At most one mail every five minutes. A repeat keeps the id of a reset that still works, so that requests of
        others do not break the link that a user has received.
        """
        ...

    async def reset_password(self, reset: PasswordReset, password: str, *, now: datetime) -> None:
        """Spend the reset, replace the password, and count the address as confirmed.

        Every session ends, and every API key is deleted.

        Raises:
            InvalidReset: it was used meanwhile.
        """
        ...

    async def request_email_change(
        self, user_id: UserId, email: str, change_id: EmailChangeId, event_id: EventId, *, now: datetime
    ) -> None:
        """Store a change of the account's address, which replaces an earlier one, and cause its mail.

        At most one mail every five minutes to the same address, and none to one that has an account.
        """
        ...

    async def change_email(self, change: EmailChange, *, now: datetime) -> None:
        """Replace the address, which is confirmed, and cause a mail to the former one.

        Raises:
            InvalidEmailChange: it was made or replaced meanwhile, or another account has the address now.
        """
        ...

    async def note_device(
        self, user_id: UserId, kind: bytes, user_agent: str, device_id: DeviceId, *, is_known: bool, now: datetime
    ) -> bool:
        """Record a sign-in on a kind of device, the SHA-256 of its description. It cancels the account's deletion.

        False if the erasure of the account has begun. Causes a mail if the kind is new to an account that knows
        another one, unless `is_known`.
        """
        ...

    async def get_credentials(self, user_id: UserId) -> Credentials | None: ...

    async def find(self, login: str, *, now: datetime) -> Credentials | None:
        """The credentials of an email address or username."""
        ...

    async def find_registration(self, registration_id: RegistrationId, *, now: datetime) -> Credentials | None:
        """The credentials of a registration; None if it can no longer be confirmed."""
        ...

    async def check(self, found: Credentials | None, password: str) -> bool:
        """True if the password is right. Takes equally long for missing credentials."""
        ...

    async def page(self, *, limit: int, offset: int) -> AccountPage:
        """All accounts, newest first."""
        ...

    async def set_password(self, user_id: UserId, password: str, *, now: datetime) -> None:
        """Replace the password, end every session and delete every API key.

        Raises `NotFound` if there is no such account.
        """
        ...

    async def grant_admin(self, user_id: UserId, *, granted: bool, now: datetime) -> None:
        """Grant or revoke the rights of a system administrator. Raises `NotFound` if there is no such account."""
        ...


class UnconfirmedRegistrations(Protocol):
    """Registrations that were not confirmed in time."""

    async def delete_expired(self, *, now: datetime) -> int:
        """Delete registrations a week after they expired. Returns their number."""
        ...


class Sessions(Protocol):
    """Sessions and their refresh tokens, stored as hashes only."""

    async def open(self, session: Session, token_hash: bytes, *, now: datetime, user_agent: str = "") -> None: ...

    async def rotate(self, spent_hash: bytes, fresh_hash: bytes, *, now: datetime, expires_at: datetime) -> Session:
        """Exchange a refresh token for a new one of the same family.

        A token used less than 30 s ago is exchanged again, for the same new token: the reply may have been lost.
        Later reuse means theft and ends the family.

        Raises:
            InvalidRefreshToken: unknown, expired, revoked or reused, or exchanged for another token before.
        """
        ...

    async def close(self, token_hash: bytes, *, now: datetime) -> SessionId | None:
        """End the family of a refresh token. Returns its session, None if the token is unknown."""
        ...

    async def list_open(self, user_id: UserId, *, now: datetime) -> Sequence[ListedSession]:
        """The user's open sessions, the latest used first; at most `MAX_LISTED_SESSIONS`."""
        ...

    async def end(self, user_id: UserId, session_id: SessionId, *, now: datetime) -> None:
        """End a session of the user.

        Raises:
            NotFound: the user has no such open session.
        """
        ...

    async def end_others(self, user_id: UserId, kept: SessionId | None, *, now: datetime) -> Sequence[SessionId]:
        """End the user's sessions, except one. Returns those that this call ended."""
        ...

    async def delete_expired(self, *, now: datetime) -> int:
        """Delete sessions and used tokens no longer needed to detect reuse. Returns the number of sessions."""
        ...


class Verifier(Protocol):
    """Verifies access tokens."""

    async def verify(self, token: str, *, now: datetime) -> Claims:
        """The claims of a token, after checking its signature, issuer, times and kind.

        Raises:
            Unauthenticated: with code `token_expired` or `auth_failed`.
            Unavailable: the issuer's keys cannot be fetched.
        """
        ...


class OpenSessions(Protocol):
    """Tells whether sessions are open, where another service verifies access tokens."""

    async def is_open(self, user_id: UserId, session_id: SessionId) -> bool:
        """False from the moment at which the session has ended.

        Raises:
            Unavailable: retry later; a session may have ended, so nothing may be assumed.
        """
        ...


class Codes(Protocol):
    """Secrets other than access tokens."""

    def random_bytes(self, count: int, /) -> bytes: ...

    def mfa_token(self, user_id: UserId, *, expires_at: datetime) -> str:
        """A secret that proves that the user's password was right."""
        ...

    def read_mfa_token(self, token: str, *, now: datetime) -> UserId:
        """Raises InvalidMfaToken: the token is forged, malformed or expired."""
        ...

    def new_refresh_token(self) -> str:
        """A new random secret."""
        ...

    def next_refresh_token(self, spent: str) -> str:
        """The secret that replaces a refresh token, the same at every exchange of it."""
        ...

    def device_token(self, user_id: UserId) -> str:
        """A new secret for a device on which the user signed in."""
        ...

    def read_device_token(self, token: str, user_id: UserId) -> str | None:
        """The id of the device whose token it is; None unless the user signed in there."""
        ...

    def nonce(self, nonce_id: UUID, *, expires_at: datetime) -> str:
        """A secret that a client gets into an ID token, or signs with a passkey."""
        ...

    def find_nonce(self, nonce: str, *, now: datetime) -> UUID | None:
        """The id of a nonce; None if it is forged, malformed or expired."""
        ...

    def confirmation_code(self, confirmation_id: UUID) -> str:
        """The secret of a mail that confirms an address, always the same for a registration or contact address."""
        ...

    def read_confirmation_code(self, code: str) -> UUID:
        """Raises InvalidConfirmation: the code is forged or malformed."""
        ...


class Tokens(Codes, Protocol):
    """Our own access tokens, and the other secrets."""

    async def issue(self, account: Account, session_id: SessionId, *, now: datetime) -> str:
        """A new access token, valid for `ACCESS_LIFETIME`.

        Raises:
            Unavailable: the issuer is unreachable.
        """
        ...

    async def revoke(self, session_id: SessionId, *, now: datetime) -> None:
        """Refuse the session's access tokens from now on, in this process."""
        ...

    async def jwks(self, *, now: datetime) -> dict[str, Any]:
        """The public keys of our own issuer.

        Raises:
            Unavailable: the keys cannot be fetched.
        """
        ...
