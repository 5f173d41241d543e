"""Ports of what signs in besides a password: authenticator apps, accounts at other services, and passkeys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.auth.model import Account, Identity, IdToken, Passkey, PasskeyId, Provider
from nomadcrew.core.ids import UserId


class TotpFactor(Struct, frozen=True):
    """The authenticator app of an account. It counts once it is confirmed."""

    account: Account
    secret: bytes
    is_confirmed: bool
    recovery_codes_left: int


class PasskeyKey(Struct, frozen=True):
    """The public key of a passkey, in COSE. `sign_count` is 0 if its authenticator does not count signatures."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


class NewPasskey(Struct, frozen=True):
    id: PasskeyId
    key: PasskeyKey
    name: str


class StoredPasskey(Struct, frozen=True):
    """A passkey with its account and key."""

    account: Account
    passkey: Passkey
    key: PasskeyKey


class TotpFactors(Protocol):
    """Authenticator apps of accounts, at most one each, and the hashes of their recovery codes."""

    async def begin(self, user_id: UserId, secret: bytes, recovery_hashes: Sequence[bytes]) -> None:
        """Store an unconfirmed factor, which replaces an unconfirmed one.

        Raises:
            MfaEnabled: the account has a confirmed one.
        """
        ...

    async def get(self, user_id: UserId) -> TotpFactor | None: ...

    async def confirm(self, user_id: UserId, secret: bytes, step: int, *, now: datetime) -> bool:
        """Confirm the factor of this secret, and spend a step. False if it was replaced or confirmed meanwhile."""
        ...

    async def spend_step(self, user_id: UserId, step: int) -> bool:
        """False if this step, or a later one, is spent."""
        ...

    async def spend_recovery_code(self, user_id: UserId, hash_: bytes) -> bool:
        """False if there is no such code left."""
        ...

    async def remove(self, user_id: UserId, *, now: datetime) -> None:
        """Delete the factor with its recovery codes. Safe to repeat."""
        ...


class Identities(Protocol):
    """Accounts at providers that may sign in to accounts here: at most one per provider."""

    async def find(self, provider: Provider, subject: str) -> Account | None: ...

    async def spend_nonce(self, nonce_id: UUID, *, expires_at: datetime) -> bool:
        """False if it was spent before."""
        ...

    async def link(self, user_id: UserId, provider: Provider, subject: str, *, now: datetime) -> None:
        """Link an identity. A repeat changes nothing.

        Raises:
            IdentityTaken: it is linked to another account, or the account has another one of the provider.
        """
        ...

    async def unlink(self, user_id: UserId, provider: Provider, *, now: datetime) -> None:
        """
        Raises:
            NotFound: the account has none of this provider.
            LastSignIn: the account has no other identity or passkey, and no password that its user knows.
        """
        ...

    async def list(self, user_id: UserId) -> Sequence[Identity]:
        """In the order of their providers' names."""
        ...


class Passkeys(Protocol):
    """Passkeys of accounts."""

    async def add(self, user_id: UserId, new: NewPasskey, *, at_most: int, now: datetime) -> Passkey:
        """
        Raises:
            TooManyPasskeys: the account has `at_most`.
            InvalidPasskey: the credential is stored already.
        """
        ...

    async def find(self, credential_id: bytes) -> StoredPasskey | None: ...

    async def credential_ids(self, user_id: UserId) -> Sequence[bytes]:
        """Those of all passkeys of an account."""
        ...

    async def list(self, user_id: UserId) -> Sequence[Passkey]:
        """The passkeys of an account, the oldest first."""
        ...

    async def used(self, passkey_id: PasskeyId, sign_count: int, *, now: datetime) -> None: ...

    async def rename(self, user_id: UserId, passkey_id: PasskeyId, name: str) -> Passkey:
        """Raises NotFound: the account has no such passkey."""
        ...

    async def remove(self, user_id: UserId, passkey_id: PasskeyId, *, now: datetime) -> None:
        """
        Raises:
            NotFound: the account has no such passkey.
            LastSignIn: the account has no other identity or passkey, and no password that its user knows.
        """
        ...


class PasskeyProofs(Protocol):
    """Checks what browsers return for passkeys: credentials as JSON (WebAuthn Level 3, section 5.1).

    `site_id` is the domain for which passkeys are made. A malformed credential raises `InvalidPasskey`.
    """

    @property
    def site_id(self) -> str: ...

    def challenge(self, credential: dict[str, Any]) -> str:
        """The challenge that a credential says it answers."""
        ...

    def credential_id(self, credential: dict[str, Any]) -> bytes: ...

    def registered(self, credential: dict[str, Any], challenge: str) -> PasskeyKey:
        """The key of a new passkey. Raises InvalidPasskey: a check failed."""
        ...

    def signed(self, credential: dict[str, Any], challenge: str, known: StoredPasskey) -> int:
        """The count of signatures, after checking this one. Raises InvalidPasskey: a check failed."""
        ...


class IdTokens(Protocol):
    """Verifies ID tokens of providers."""

    async def verify(self, provider: Provider, id_token: str, nonce: str, *, now: datetime) -> IdToken:
        """The token, after checking its signature, issuer, audience, times and nonce.

        Raises:
            ProviderOff: the site has no client at the provider.
            InvalidIdToken: a check failed.
            Unavailable: the provider's keys cannot be fetched.
        """
        ...
