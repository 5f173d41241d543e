"""The published keys of a user pool: their URL, and the fields that this API publishes."""

import os
from collections.abc import Mapping
from typing import Any

from nomadcrew.adapters.aws.sdk.services import COGNITO
from nomadcrew.adapters.jwt.jwks_cache import Fetch, JwksCache, fetcher

# The fields of a public RSA key; other fields are not published.
_PUBLISHED = ("kty", "n", "e")

PublicKey = Mapping[str, str]


def issuer_of(pool_id: str) -> str:
    """The `iss` of a pool's tokens; the pool's id starts with its region."""
    return f"https://{COGNITO.host}.{pool_id.partition('_')[0]}.amazonaws.com/{pool_id}"


def keys_url(pool_id: str, environment: Mapping[str, str] = os.environ) -> str:
    """The URL of a pool's keys: at its issuer, or at the endpoint that the environment sets for Cognito."""
    endpoint = environment.get(f"AWS_ENDPOINT_URL_{COGNITO.variable}") or environment.get("AWS_ENDPOINT_URL")
    base = issuer_of(pool_id) if endpoint is None else f"{endpoint.rstrip('/')}/{pool_id}"
    return f"{base}/.well-known/jwks.json"


def public_keys(
    pool_id: str, *, environment: Mapping[str, str] = os.environ, fetch: Fetch | None = None
) -> JwksCache[PublicKey]:
    """A pool's keys for publication; their numbers are not parsed."""
    return JwksCache(keys_url(pool_id, environment), fetch or fetcher({}), _published)


def _published(entry: Mapping[str, Any]) -> PublicKey | None:
    if entry.get("kty") != "RSA" or entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
        return None
    if not all(isinstance(entry.get(name), str) for name in _PUBLISHED):
        return None
    return {**{name: entry[name] for name in _PUBLISHED}, "kid": entry["kid"], "alg": "RS256", "use": "sig"}
