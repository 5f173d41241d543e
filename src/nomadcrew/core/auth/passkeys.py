"""Passkeys: sign-in without a password, by a key on the user's device (WebAuthn Level 2).

A challenge is a nonce of ours, which is spent. The device checks its user by itself, by a finger or a PIN. So a
passkey is two factors, and no code is asked for.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.auth.accounts import require_own_password
from nomadcrew.core.auth.credential_ports import Identities, NewPasskey, PasskeyProofs, Passkeys
from nomadcrew.core.auth.errors import InvalidPasskey
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.auth.model import Account, Passkey, PasskeyId, SignedIn
from nomadcrew.core.auth.ports import Accounts, Codes, Sessions, Tokens
from nomadcrew.core.auth.sessions import open_session
from nomadcrew.core.ids import NewId, UserId
from nomadcrew.core.rate_limits import RateLimits

CHALLENGE_LIFETIME = timedelta(minutes=10)
MAX_PASSKEYS = 20  # of an account

Credential = dict[str, Any]


class NewPasskeyOptions(Struct, frozen=True):
    """The options for a new passkey of an account, which has `present` ones already."""

    account: Account
    challenge: str
    present: Sequence[bytes]


class PasskeyActions(Struct, frozen=True):
    """The actions on passkeys, for one origin and one time."""

    origin: Origin
    accounts: Accounts
    passkeys: Passkeys
    proofs: PasskeyProofs
    identities: Identities
    codes: Codes
    new_id: NewId
    now: datetime

    def challenge(self) -> str:
        """A challenge for one signature, valid for `CHALLENGE_LIFETIME`."""
        return self.codes.nonce(self.new_id(), expires_at=self.now + CHALLENGE_LIFETIME)

    async def begin(self, user_id: UserId, password: str, *, limits: RateLimits) -> NewPasskeyOptions:
        """The options for a new passkey of a user who knows the password.

        Raises:
            DomainError: as `require_own_password` says.
        """
        account = await require_own_password(
            user_id, password, self.origin, accounts=self.accounts, limits=limits, codes=self.codes
        )
        return NewPasskeyOptions(account, self.challenge(), await self.passkeys.credential_ids(user_id))

    async def add(self, user_id: UserId, name: str, credential: Credential) -> Passkey:
        """Store the passkey of a credential that answers a challenge. A repeat returns the first.

        Raises:
            InvalidPasskey: a check failed, the key is of another user, or the challenge is not ours, or spent.
            TooManyPasskeys: the account has `MAX_PASSKEYS`.
        """
        challenge, nonce_id = self._challenge_of(credential)
        key = self.proofs.registered(credential, challenge)
        known = await self.passkeys.find(key.credential_id)
        if known is not None and known.account.user_id == user_id:
            return known.passkey
        await self._spend(nonce_id)
        return await self.passkeys.add(
            user_id, NewPasskey(PasskeyId(self.new_id()), key, name), at_most=MAX_PASSKEYS, now=self.now
        )

    async def sign_in(self, credential: Credential, *, sessions: Sessions, tokens: Tokens) -> SignedIn:
        """Sign in to the account of a passkey.

        Raises:
            InvalidPasskey: the passkey is unknown, its signature is wrong, or the challenge is not ours, expired or
                spent.
        """
        challenge, nonce_id = self._challenge_of(credential)
        known = await self.passkeys.find(self.proofs.credential_id(credential))
        if known is None:
            raise InvalidPasskey
        sign_count = self.proofs.signed(credential, challenge, known)
        await self._spend(nonce_id)
        await self.passkeys.used(known.passkey.id, sign_count, now=self.now)
        return await open_session(
            known.account,
            self.origin,
            accounts=self.accounts,
            sessions=sessions,
            tokens=tokens,
            new_id=self.new_id,
            now=self.now,
        )

    async def list(self, user_id: UserId) -> Sequence[Passkey]:
        return await self.passkeys.list(user_id)

    async def rename(self, user_id: UserId, passkey_id: PasskeyId, name: str) -> Passkey:
        return await self.passkeys.rename(user_id, passkey_id, name)

    async def remove(self, user_id: UserId, passkey_id: PasskeyId) -> None:
        await self.passkeys.remove(user_id, passkey_id, now=self.now)

    def _challenge_of(self, credential: Credential) -> tuple[str, UUID]:
        """The challenge of a credential, and its id. Raises InvalidPasskey: it is not ours, or expired."""
        challenge = self.proofs.challenge(credential)
        nonce_id = self.codes.find_nonce(challenge, now=self.now)
        if nonce_id is None:
            raise InvalidPasskey
        return challenge, nonce_id

    async def _spend(self, nonce_id: UUID) -> None:
        if not await self.identities.spend_nonce(nonce_id, expires_at=self.now + CHALLENGE_LIFETIME):
            raise InvalidPasskey
