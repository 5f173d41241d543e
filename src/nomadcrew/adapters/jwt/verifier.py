"""Checks access tokens of any number of issuers, remembers the good ones, and forgets sessions that ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nomadcrew.adapters.jwt.issuers import Issuer
from nomadcrew.adapters.jwt.parse import SKEW_S, Parts, parse
from nomadcrew.adapters.jwt.signatures import verified_payload
from nomadcrew.core.auth.model import ACCESS_LIFETIME
from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import Unauthenticated
from nomadcrew.core.ids import SessionId

CACHED_TOKENS = 10_000
# How long a verified token is trusted without another look at its issuer's keys, which may have been withdrawn.
TRUSTED_S = 15 * 60


@dataclass(frozen=True, slots=True)
class _Known:
    claims: Claims
    check_again_at: float


class TokenVerifier:
    """Says what access tokens mean, by their issuers' names in `iss`."""

    def __init__(self, issuers: Sequence[Issuer], *, cached: int = CACHED_TOKENS) -> None:
        """
        Raises:
            ValueError: two issuers have one name.
        """
        self._issuers: dict[str, Issuer] = {issuer.name: issuer for issuer in issuers}
        if len(self._issuers) != len(issuers):
            raise ValueError("Two issuers of access tokens have the same name; give each its own.")
        self._cached = cached
        self._known: dict[str, _Known] = {}
        self._revoked: dict[SessionId, float] = {}

    async def verify(self, token: str, *, now: datetime) -> Claims:
        """As `Tokens.verify`."""
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
        """Refuse tokens of a session as long as one could live."""
        now_s = now.timestamp()
        for stale in [session for session, until_s in self._revoked.items() if until_s <= now_s]:
            del self._revoked[stale]
        self._revoked[session_id] = now_s + ACCESS_LIFETIME.total_seconds() + 2 * SKEW_S

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
