"""The keys a user pool publishes: where they are, and what may be shown of them."""

import os
from collections.abc import Mapping
from typing import Any

from nomadcrew.adapters.aws.sdk.services import COGNITO
from nomadcrew.adapters.jwt.jwks_cache import Fetch, PublishedKeys, fetcher

# A public RSA key's; nothing else of an entry is shown.
_SHOWN = ("kty", "n", "e")

PublicKey = Mapping[str, str]


def issuer_of(pool_id: str) -> str:
    """What `iss` says in a pool's tokens; the pool's id begins with its region."""
    return f"https://{COGNITO.host}.{pool_id.partition('_')[0]}.amazonaws.com/{pool_id}"


def keys_url(pool_id: str, environment: Mapping[str, str] = os.environ) -> str:
    """Where a pool publishes its keys: at its issuer, or where the environment says that Cognito is."""
    elsewhere = environment.get(f"AWS_ENDPOINT_URL_{COGNITO.variable}") or environment.get("AWS_ENDPOINT_URL")
    base = issuer_of(pool_id) if elsewhere is None else f"{elsewhere.rstrip('/')}/{pool_id}"
    return f"{base}/.well-known/jwks.json"


def public_keys(
    pool_id: str, *, environment: Mapping[str, str] = os.environ, fetch: Fetch | None = None
) -> PublishedKeys[PublicKey]:
    """A pool's keys as they are shown to others, which takes no look at the numbers in them."""
    return PublishedKeys(keys_url(pool_id, environment), fetch or fetcher({}), _shown)


def _shown(entry: Mapping[str, Any]) -> PublicKey | None:
    if entry.get("kty") != "RSA" or entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
        return None
    if not all(isinstance(entry.get(name), str) for name in _SHOWN):
        return None
    return {**{name: entry[name] for name in _SHOWN}, "kid": entry["kid"], "alg": "RS256", "use": "sig"}
