"""Sign-in with an account at Google or Apple, by an ID token (OpenID Connect Core 1.0).

A token counts with a nonce of ours, which is spent: a stolen token cannot be sent again. An account here is never
linked silently: a user with a password signs in with it and links the other account then.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from nomadcrew.core.auth.accounts import require_no_code, require_own_password
from nomadcrew.core.auth.credential_ports import Identities, IdTokens
from nomadcrew.core.auth.errors import EmailUnverified, IdentityUnlinked, InvalidIdToken, RegistrationClosed
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.auth.model import Identity, IdToken, Provider, SignedIn
from nomadcrew.core.auth.ports import Accounts, Codes, NewAccount, Sessions, Tokens
from nomadcrew.core.auth.sessions import open_session
from nomadcrew.core.emails import parse_own_email
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import NewId, UserId
from nomadcrew.core.rate_limits import RateLimits
from nomadcrew.core.users.errors import EmailTaken
from nomadcrew.core.users.rules import parse_name, usernames_for

NONCE_LIFETIME = timedelta(minutes=10)


class Proof(Struct, frozen=True):
    """An ID token, and the nonce for which the client asked the provider for it."""

    provider: Provider
    id_token: str
    nonce: str


class IdentityActions(Struct, frozen=True):
    """The actions on identities, for one origin and one time."""

    origin: Origin
    accounts: Accounts
    identities: Identities
    id_tokens: IdTokens
    codes: Codes
    new_id: NewId
    now: datetime

    def nonce(self) -> str:
        """A nonce for one token, valid for `NONCE_LIFETIME`."""
        return self.codes.nonce(self.new_id(), expires_at=self.now + NONCE_LIFETIME)

    async def sign_in(self, proof: Proof, *, is_open: bool, sessions: Sessions, tokens: Tokens) -> SignedIn:
        """Sign in to the account of an identity; without one, create an account.

        Raises:
            InvalidIdToken: the token is not valid, or its nonce is not ours, expired or spent.
            EmailUnverified: a new account needs an address that the provider has verified.
            IdentityUnlinked: the address has an account already.
            RegistrationClosed: the site accepts new accounts by invitation only.
            MfaRequired: the account needs a code.
        """
        token = await self._spent(proof)
        account = await self.identities.find(token.provider, token.subject)
        if account is None:
            if not is_open:
                raise RegistrationClosed
            new, password = self._new_account(token), self._random_password()
            try:
                account = await self.accounts.register(new, password, confirmed=True, now=self.now, identity=token)
            except EmailTaken:
                raise IdentityUnlinked from None
        require_no_code(account, self.codes, self.now)
        return await open_session(
            account, self.origin, accounts=self.accounts, sessions=sessions, tokens=tokens, new_id=self.new_id,
            now=self.now,
        )  # fmt: skip

    async def link(self, user_id: UserId, password: str, proof: Proof, *, limits: RateLimits) -> None:
        """Let an identity sign in to the account of a user who knows its password. A repeat changes nothing.

        Raises:
            InvalidIdToken: as `sign_in`.
            IdentityTaken: the identity, or another one of its provider, is linked.
            DomainError: as `require_own_password` says.
        """
        await require_own_password(
            user_id, password, self.origin, accounts=self.accounts, limits=limits, codes=self.codes
        )
        token = await self._spent(proof)
        await self.identities.link(user_id, token.provider, token.subject, now=self.now)

    async def unlink(self, user_id: UserId, provider: Provider) -> None:
        """Raises IdentityNotFound, or LastSignIn: nothing else signs in to the account."""
        await self.identities.unlink(user_id, provider, now=self.now)

    async def list(self, user_id: UserId) -> Sequence[Identity]:
        return await self.identities.list(user_id)

    async def _spent(self, proof: Proof) -> IdToken:
        nonce_id = self.codes.find_nonce(proof.nonce, now=self.now)
        if nonce_id is None:
            raise InvalidIdToken
        token = await self.id_tokens.verify(proof.provider, proof.id_token, proof.nonce, now=self.now)
        if not await self.identities.spend_nonce(nonce_id, expires_at=self.now + NONCE_LIFETIME):
            raise InvalidIdToken
        return token

    def _new_account(self, token: IdToken) -> NewAccount:
        if token.email is None:
            raise EmailUnverified
        try:
            email = parse_own_email(token.email)
        except Invalid:
            raise EmailUnverified from None
        user_id = UserId(self.new_id())
        return NewAccount(
            user_id, email, usernames_for(email, user_id), _name(token.first_name), _name(token.last_name)
        )

    def _random_password(self) -> str:
        """A password that no user knows, and that every policy accepts."""
        return f"{self.codes.random_bytes(32).hex()}-aA7"


def _name(text: str) -> str:
    """A name as the provider has it; none if it does not fit."""
    try:
        return parse_name("name", text)
    except Invalid:
        return ""
