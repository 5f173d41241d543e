"""Access tokens: ours, signed with RS256, and those of other issuers beside them."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import RSAKey

from nomadcrew.adapters.embedded.issuers import Issuer, OurIssuer
from nomadcrew.adapters.embedded.jose import SKEW_S, Parts, parse, verified_payload
from nomadcrew.core.errors import Unauthenticated
from nomadcrew.core.identity.errors import InvalidConfirmation
from nomadcrew.core.identity.model import ACCESS_LIFETIME, Account, Claims
from nomadcrew.core.identity.ports import RegistrationId
from nomadcrew.core.ids import SessionId

CACHED_TOKENS = 10_000
# How long a verified token is trusted without another look at its issuer's keys, which may have been withdrawn.
TRUSTED_S = 15 * 60
_CODE_BYTES = 16 + 32


@dataclass(frozen=True, slots=True)
class _Known:
    claims: Claims
    check_again_at: float


class JwtTokens:
    """`Tokens` with our own issuer and, beside it, others by their name in `iss`."""

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
        """`signing` and `confirmation_secrets` begin with the one that signs; `issuer` is what `iss` says.

        `on_revoke` is told of every session that ends, so that what it left open can be closed.

        Raises:
            ValueError: two issuers have one name.
        """
        self._ours = OurIssuer(issuer, client_id, signing)
        self._issuers: dict[str, Issuer] = {other.name: other for other in (*others, self._ours)}
        if len(self._issuers) != len(others) + 1:
            raise ValueError("Two issuers of access tokens have the same name; give each its own.")
        self._confirmation_secrets = [secret.encode() for secret in confirmation_secrets]
        self._on_revoke = on_revoke
        self._random_bytes = random_bytes
        self._cached = cached
        self._known: dict[str, _Known] = {}
        self._revoked: dict[SessionId, float] = {}

    def issue(self, account: Account, session_id: SessionId, *, now: datetime) -> str:
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
        now_s = now.timestamp()
        known = self._known.get(token)
        if known is None or known.check_again_at <= now_s:
            self._known.pop(token, None)
            known = _Known(await self._verify(parse(token), now), now_s + TRUSTED_S)
            self._keep(token, known)
        if known.claims.expires_at.timestamp() + SKEW_S <= now_s:
            self._known.pop(token, None)
            raise Unauthenticated("The access token has expired.", code="token_expired")
        if known.claims.session_id in self._revoked:
            self._known.pop(token, None)
            raise Unauthenticated("This session has ended. Sign in again.", code="auth_failed")
        return known.claims

    def revoke(self, session_id: SessionId, *, now: datetime) -> None:
        now_s = now.timestamp()
        for stale in [session for session, until_s in self._revoked.items() if until_s <= now_s]:
            del self._revoked[stale]
        self._revoked[session_id] = now_s + ACCESS_LIFETIME.total_seconds() + 2 * SKEW_S
        self._on_revoke(session_id)

    def jwks(self) -> dict[str, Any]:
        return self._ours.jwks()

    def new_refresh_token(self) -> str:
        return _base64(self._random_bytes(32))

    def confirmation_code(self, registration_id: RegistrationId) -> str:
        return _base64(registration_id.bytes + self._seal(self._confirmation_secrets[0], registration_id))

    def read_confirmation_code(self, code: str) -> RegistrationId:
        try:
            data = base64.b64decode(code.encode() + b"=" * (-len(code) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise InvalidConfirmation from None
        if len(data) != _CODE_BYTES:
            raise InvalidConfirmation
        registration_id = RegistrationId(UUID(bytes=data[:16]))
        seals = (self._seal(secret, registration_id) for secret in self._confirmation_secrets)
        if not any(hmac.compare_digest(data[16:], seal) for seal in seals):
            raise InvalidConfirmation
        return registration_id

    async def _verify(self, parts: Parts, now: datetime) -> Claims:
        issuer = self._issuers.get(parts.issuer)
        if issuer is None:
            raise Unauthenticated("The access token is not from an issuer that is trusted here.")
        key = await issuer.key_for(parts, now=now)
        return issuer.claims_of(verified_payload(parts, key), now=now)

    def _keep(self, token: str, known: _Known) -> None:
        while len(self._known) >= self._cached:
            del self._known[next(iter(self._known))]
        self._known[token] = known

    def _seal(self, secret: bytes, registration_id: RegistrationId) -> bytes:
        return hmac.digest(secret, b"confirm registration " + registration_id.bytes, hashlib.sha256)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
