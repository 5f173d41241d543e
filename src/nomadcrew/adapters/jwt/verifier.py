"""Verifies access tokens of several issuers; caches valid tokens and remembers sessions that ended."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from nomadcrew.adapters.jwt.issuers import Issuer
from nomadcrew.adapters.jwt.parse import SKEW_S, UnverifiedToken, parse
from nomadcrew.adapters.jwt.signatures import verified_payload
from nomadcrew.core.auth.model import ACCESS_LIFETIME
from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import Unauthenticated
from nomadcrew.core.ids import SessionId

CACHED_TOKENS = 10_000
# How long a verified token is trusted without another check of its issuer's keys, which may be withdrawn.
TRUSTED_S = 15 * 60


class _Verified(Struct, frozen=True):
    claims: Claims
    check_again_at: float


class TokenVerifier:
    """Verifies access tokens by their issuers, which are named in `iss`."""

    def __init__(self, issuers: Sequence[Issuer], *, cached: int = CACHED_TOKENS) -> None:
        """
        Raises:
            ValueError: two issuers have the same name.
        """
        self._issuers: dict[str, Issuer] = {issuer.name: issuer for issuer in issuers}
        if len(self._issuers) != len(issuers):
            raise ValueError("Two issuers of access tokens have the same name; give each a different one.")
        self._cached = cached
        self._cache: dict[str, _Verified] = {}
        self._revoked: dict[SessionId, float] = {}

    async def verify(self, token: str, *, now: datetime) -> Claims:
        """See `Tokens.verify`."""
        now_s = now.timestamp()
        known = self._cache.get(token)
        if known is None or known.check_again_at <= now_s:
            self._cache.pop(token, None)
            known = _Verified(await self._verify(parse(token), now), now_s + TRUSTED_S)
            self._add(token, known)
        if known.claims.expires_at.timestamp() + SKEW_S <= now_s:
            self._cache.pop(token, None)
            raise Unauthenticated("The access token has expired.", code="token_expired")
        if known.claims.session_id in self._revoked:
            self._cache.pop(token, None)
            raise Unauthenticated("This session has ended. Sign in again.", code="auth_failed")
        return known.claims

    def revoke(self, session_id: SessionId, *, now: datetime) -> None:
        """Refuse the tokens of a session for the maximum lifetime of a token."""
        now_s = now.timestamp()
        for stale in [session for session, until_s in self._revoked.items() if until_s <= now_s]:
            del self._revoked[stale]
        self._revoked[session_id] = now_s + ACCESS_LIFETIME.total_seconds() + 2 * SKEW_S

    async def _verify(self, parts: UnverifiedToken, now: datetime) -> Claims:
        issuer = self._issuers.get(parts.issuer)
        if issuer is None:
            raise Unauthenticated("The issuer of the access token is not trusted.")
        key = await issuer.key_for(parts, now=now)
        return issuer.claims_of(verified_payload(parts, key), now=now)

    def _add(self, token: str, known: _Verified) -> None:
        while len(self._cache) >= self._cached:
            del self._cache[next(iter(self._cache))]
        self._cache[token] = known
