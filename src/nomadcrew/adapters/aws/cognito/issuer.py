"""Verifies the access tokens of a user pool."""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nomadcrew.adapters.aws.cognito.keys import issuer_of, keys_url
from nomadcrew.adapters.aws.cognito.proofs import SCOPE
from nomadcrew.adapters.jwt.jwks import JwksSource
from nomadcrew.adapters.jwt.jwks_cache import Fetch, fetcher
from nomadcrew.adapters.jwt.parse import UnverifiedToken, check_times, invalid
from nomadcrew.adapters.jwt.signatures import VerifyingKey
from nomadcrew.adapters.jwt.verifier import TokenVerifier
from nomadcrew.core.claims import Claims
from nomadcrew.core.ids import SessionId, UserId, parse_uuid


class CognitoIssuer:
    """A user pool: RS256 only, with its published keys. The `username` of its tokens is our user id."""

    def __init__(self, pool_id: str, client_id: str, jwks: JwksSource) -> None:
        self.name = issuer_of(pool_id)
        self._client_id = client_id
        self._jwks = jwks

    async def key_for(self, parts: UnverifiedToken, *, now: datetime) -> VerifyingKey:
        if parts.alg != "RS256" or parts.kid is None:
            raise invalid()
        key = await self._jwks.key(parts.kid, now=now)
        if key is None:
            raise invalid()
        return key

    def claims_of(self, payload: dict[str, Any], *, now: datetime) -> Claims:
        expires_at = check_times(payload, now)
        if payload.get("token_use") != "access" or payload.get("client_id") != self._client_id:
            raise invalid()
        # Password checks produce tokens too; those lack our scope.
        if SCOPE not in str(payload.get("scope")).split():
            raise invalid()
        user_id, session_id = parse_uuid(str(payload.get("username"))), parse_uuid(str(payload.get("sid")))
        if user_id is None or session_id is None:
            raise invalid()
        return Claims(
            user_id=UserId(user_id),
            expires_at=expires_at,
            is_admin=payload.get("is_admin") == "true",
            session_id=SessionId(session_id),
        )


def pool_jwks(
    pool_id: str, *, environment: Mapping[str, str] = os.environ, fetch: Fetch | None = None
) -> JwksSource:
    """The published keys of a pool, for verification."""
    return JwksSource(keys_url(pool_id, environment), fetch or fetcher({}))


def pool_verifier(
    pool_id: str, client_id: str, *, environment: Mapping[str, str] = os.environ, fetch: Fetch | None = None
) -> TokenVerifier:
    """Verifies a pool's access tokens for one client; needs no permissions."""
    jwks = pool_jwks(pool_id, environment=environment, fetch=fetch)
    return TokenVerifier([CognitoIssuer(pool_id, client_id, jwks)])
