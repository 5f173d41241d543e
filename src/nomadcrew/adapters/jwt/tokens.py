"""Access tokens: issues our own, signed with RS256, and verifies those of other issuers too."""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import RSAKey

from nomadcrew.adapters.jwt import secrets as codes
from nomadcrew.adapters.jwt.issuers import Issuer, OurIssuer
from nomadcrew.adapters.jwt.verifier import CACHED_TOKENS, TokenVerifier
from nomadcrew.core.auth.model import ACCESS_LIFETIME, Account
from nomadcrew.core.claims import Claims
from nomadcrew.core.ids import SessionId, UserId


class JwtTokens:
    """`Tokens` with our own issuer and others, by `iss`."""

    def __init__(
        self,
        signing: Sequence[RSAKey],
        confirmation_secrets: Sequence[str],
        *,
        issuer: str,
        client_id: str = "nomadcrew",
        others: Sequence[Issuer] = (),
        on_revoke: Callable[[SessionId], None] = lambda _: None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        cached: int = CACHED_TOKENS,
    ) -> None:
        """The first of `signing` and of `confirmation_secrets` signs; `issuer` is the `iss` of our tokens.

        `on_revoke` is called with every session that ends, so that its sockets can be closed.

        Raises:
            ValueError: two issuers have the same name.
        """
        self._ours = OurIssuer(issuer, client_id, signing)
        self._verifier = TokenVerifier([*others, self._ours], cached=cached)
        self._confirmation_secrets = [secret.encode() for secret in confirmation_secrets]
        self._on_revoke = on_revoke
        self._random_bytes = random_bytes

    async def issue(self, account: Account, session_id: SessionId, *, now: datetime) -> str:
        issued_at = int(now.timestamp())
        claims: dict[str, Any] = {
            "iss": self._ours.name,
            "sub": str(account.user_id),
            "client_id": self._ours.client_id,
            "token_use": "access",
            "sid": str(session_id),
            "username": account.profile.username,
            "iat": issued_at,
            "exp": issued_at + int(ACCESS_LIFETIME.total_seconds()),
            "jti": self._random_bytes(16).hex(),
        }
        if account.is_admin:
            claims["is_admin"] = True
        header = {"alg": "RS256", "kid": self._ours.kid}
        return jwt.encode(header, claims, self._ours.signing_key, algorithms=["RS256"])

    async def verify(self, token: str, *, now: datetime) -> Claims:
        return await self._verifier.verify(token, now=now)

    async def revoke(self, session_id: SessionId, *, now: datetime) -> None:
        self._verifier.revoke(session_id, now=now)
        self._on_revoke(session_id)

    async def jwks(self, *, now: datetime) -> dict[str, Any]:  # noqa: ARG002 — our keys do not expire
        return self._ours.jwks()

    def new_refresh_token(self) -> str:
        return codes.refresh_token(self._random_bytes)

    def next_refresh_token(self, spent: str) -> str:
        return codes.next_refresh_token(self._confirmation_secrets[0], spent)

    def device_token(self, user_id: UserId) -> str:
        return codes.device_token(self._confirmation_secrets[0], user_id, self._random_bytes)

    def read_device_token(self, token: str, user_id: UserId) -> str | None:
        return codes.read_device_token(self._confirmation_secrets, token, user_id)

    def random_bytes(self, count: int, /) -> bytes:
        return self._random_bytes(count)

    def mfa_token(self, user_id: UserId, *, expires_at: datetime) -> str:
        return codes.mfa_token(self._confirmation_secrets[0], user_id, expires_at)

    def read_mfa_token(self, token: str, *, now: datetime) -> UserId:
        return codes.read_mfa_token(self._confirmation_secrets, token, now)

    def nonce(self, nonce_id: UUID, *, expires_at: datetime) -> str:
        return codes.nonce(self._confirmation_secrets[0], nonce_id, expires_at)

    def read_nonce(self, nonce: str, *, now: datetime) -> UUID:
        return codes.read_nonce(self._confirmation_secrets, nonce, now)

    def confirmation_code(self, confirmation_id: UUID) -> str:
        return codes.confirmation_code(self._confirmation_secrets[0], confirmation_id)

    def read_confirmation_code(self, code: str) -> UUID:
        return codes.read_confirmation_code(self._confirmation_secrets, code)
