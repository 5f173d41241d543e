"""What identity needs: profiles, accounts, sessions and tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NewType, Protocol
from uuid import UUID

from nomadcrew.core.auth.model import Account, Profile, Session
from nomadcrew.core.claims import Claims
from nomadcrew.core.ids import EventId, SessionId, TripId, UserId

RegistrationId = NewType("RegistrationId", UUID)


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """What to change; None leaves a field as it is."""

    username: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    avatar_url: str | None = None
    location_privacy_preference: str | None = None


@dataclass(frozen=True, slots=True)
class FoundUser:
    """A row of a search; `is_member` where a trip of the caller's was named."""

    id: UserId
    email: str
    username: str
    first_name: str
    last_name: str
    avatar_url: str
    contact_email: str | None
    is_member: bool


@dataclass(frozen=True, slots=True)
class ProfilePage:
    items: Sequence[Profile]
    total: int


class Profiles(Protocol):
    """People as others see them. Methods with a caller raise `NotOnboarded` for one without a profile."""

    async def onboard(self, profile: Profile, *, rename: bool = True) -> Profile:
        """Create the profile, or bring its e-mail up to date, and its username where `rename` says so.

        Names and avatar are filled in where the stored ones are empty, never overwritten. An empty e-mail leaves
        the stored one as it is.

        Raises:
            UsernameTaken, EmailTaken: another person's.
            EmailRequired: there is no profile yet and the e-mail is empty.
        """
        ...

    async def one(self, user_id: UserId, caller: UserId) -> Profile:
        """Raises NotFound: no such person."""
        ...

    async def search(self, text: str, caller: UserId, *, trip_id: TripId | None, limit: int) -> Sequence[FoundUser]:
        """People whose username, names or addresses contain `text`, best matches first.

        Two characters count at the beginning of one of them only.
        """
        ...

    async def page(self, caller: UserId, *, is_admin: bool, limit: int, offset: int) -> ProfilePage:
        """Everybody, newest first. Raises AdminOnly: the caller is no system administrator."""
        ...

    async def change(
        self, user_id: UserId, change: ProfileChange, caller: UserId, *, is_admin: bool, now: datetime
    ) -> Profile:
        """Change what is not None.

        Raises:
            NotSelf: another person's profile, and the caller is no system administrator.
            NotFound: no such person.
            UsernameTaken: another person's.
        """
        ...

    async def merge_preferences(
        self, user_id: UserId, preferences: dict[str, Any], caller: UserId, *, is_admin: bool, now: datetime
    ) -> Profile:
        """Merge top-level keys; a null removes one.

        Raises:
            NotSelf, NotFound: as `change`.
            Invalid: together they are more than `MAX_PREFERENCES_BYTES`.
        """
        ...

    async def merge_notification_preferences(
        self, switches: Mapping[str, Any], details: Mapping[str, Any], caller: UserId, *, now: datetime
    ) -> Profile:
        """Merge what the caller wants to be told into `notifications` and `notificationDetails`, key by key.

        Raises:
            Invalid: as `merge_preferences`.
        """
        ...

    async def set_contact_email(self, caller: UserId, email: str, *, now: datetime) -> None:
        """Raises EmailTaken: another person signs in with that address."""
        ...


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to be. The first free one of `usernames` is taken."""

    user_id: UserId
    email: str
    usernames: tuple[str, ...]
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a sign-in is checked against: an account's, or those of a registration nobody has confirmed yet.

    `password_hash` is the adapter's own business: where passwords are kept elsewhere it only says so.
    """

    password_hash: str
    account: Account | None = None
    registration_id: RegistrationId | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """A registration that waits for its address to be confirmed, as the mail about it needs it."""

    id: RegistrationId
    email: str
    username: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class AccountPage:
    items: Sequence[Account]
    total: int


class Registrations(Protocol):
    """Registrations and the accounts that came of them, but for their passwords."""

    async def confirm(self, registration_id: RegistrationId, suffix: str, *, now: datetime) -> Account:
        """Make a kept registration an account, whose id is the registration's.

        `suffix` goes to the username if somebody was faster.

        Raises:
            InvalidConfirmation: no such registration, or it has expired.
            ConfirmationUsed: it or another one for the address was confirmed before.
        """
        ...

    async def pending(self, registration_id: RegistrationId, *, now: datetime) -> Registration | None:
        """For mail: a registration that can still be confirmed."""
        ...

    async def one(self, user_id: UserId) -> Account | None: ...


class Accounts(Registrations, Protocol):
    """Credentials of people who registered here, with their profiles."""

    async def register(self, new: NewAccount, password: str, *, confirmed: bool, now: datetime) -> Account:
        """Create account and profile together; `confirmed` where the address is proven.

        An account of that address with that very password is returned instead: a repeated registration.

        Raises:
            EmailTaken: another account's, or an account's with another password.
            UsernameTaken: none of the usernames is free.
        """
        ...

    async def request(
        self, new: NewAccount, password: str, registration_id: RegistrationId, event_id: EventId, *, now: datetime
    ) -> None:
        """Keep a registration until its address is confirmed, and have the mail about it sent.

        Nobody is told whether the address has an account: its owner gets a mail that says so, once an hour at
        most. A repeat within a minute mails nobody, nor does more than five an hour.

        Raises:
            UsernameTaken: none of the usernames is free.
        """
        ...

    async def remind(self, registration_id: RegistrationId, event_id: EventId, *, now: datetime) -> None:
        """Mail the link once more, unless that was done five minutes ago."""
        ...

    async def find(self, login: str, *, now: datetime) -> Credentials | None:
        """What belongs to an e-mail address or username."""
        ...

    async def check(self, found: Credentials | None, password: str) -> bool:
        """Whether the password is right; takes as long for nobody's credentials as for somebody's."""
        ...

    async def page(self, *, limit: int, offset: int) -> AccountPage:
        """Everybody who may sign in here, newest first."""
        ...

    async def set_password(self, user_id: UserId, password: str, *, now: datetime) -> None:
        """Replace the password and end every session. Raises NotFound: no such account."""
        ...

    async def grant_admin(self, user_id: UserId, *, granted: bool, now: datetime) -> None:
        """Make somebody a system administrator, or no longer. Raises NotFound: no such account."""
        ...


class Abandoned(Protocol):
    """Registrations that nobody confirmed in time."""

    async def forget_expired(self, *, now: datetime) -> int:
        """Drop registrations a week after they expired; how many."""
        ...


class Sessions(Protocol):
    """Refresh tokens, kept as hashes only."""

    async def open(self, session: Session, token_hash: bytes, *, now: datetime) -> None: ...

    async def rotate(self, spent_hash: bytes, fresh_hash: bytes, *, now: datetime, expires_at: datetime) -> Session:
        """Exchange a refresh token for a fresh one of the same family.

        A token spent under 30 s ago is exchanged again, for the reply may have been lost; later its reuse means
        theft and ends the family.

        Raises:
            InvalidRefreshToken: unknown, expired, revoked or reused.
        """
        ...

    async def close(self, token_hash: bytes, *, now: datetime) -> SessionId | None:
        """End the family of a refresh token; None where there is none."""
        ...

    async def forget_expired(self, *, now: datetime) -> int:
        """Drop sessions and spent tokens that no reuse could be recognised by any more; how many sessions."""
        ...


class Verifier(Protocol):
    """Believes access tokens, or does not."""

    async def verify(self, token: str, *, now: datetime) -> Claims:
        """What a token says, once its signature, issuer, times and kind hold.

        Raises:
            Unauthenticated: with code `token_expired` or `auth_failed`.
            Unavailable: the issuer's keys cannot be fetched just now.
        """
        ...


class Codes(Protocol):
    """Secrets for people that are no access tokens."""

    def new_refresh_token(self) -> str:
        """A fresh secret that nobody can guess."""
        ...

    def confirmation_code(self, registration_id: RegistrationId) -> str:
        """The secret that proves a mail was received; always the same one for a registration."""
        ...

    def read_confirmation_code(self, code: str) -> RegistrationId:
        """Raises InvalidConfirmation: forged or malformed."""
        ...


class Tokens(Codes, Protocol):
    """Our own access tokens. Also makes the other secrets."""

    async def issue(self, account: Account, session_id: SessionId, *, now: datetime) -> str:
        """An access token that lives for `ACCESS_LIFETIME`.

        Raises:
            Unavailable: the issuer cannot be asked just now.
        """
        ...

    async def revoke(self, session_id: SessionId, *, now: datetime) -> None:
        """Refuse access tokens of a session from now on in this process."""
        ...

    async def jwks(self, *, now: datetime) -> dict[str, Any]:
        """The public keys of our own issuer.

        Raises:
            Unavailable: they cannot be fetched just now.
        """
        ...
