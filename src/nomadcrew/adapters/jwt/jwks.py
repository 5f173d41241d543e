"""Published verification keys (JWKS)."""

from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from nomadcrew.adapters.jwt.jwks_cache import Fetch, JwksCache
from nomadcrew.adapters.jwt.signatures import VerifyingKey

MIN_RSA_BITS = 2048


class JwksSource(JwksCache[VerifyingKey]):
    def __init__(self, url: str, fetch: Fetch) -> None:
        """See `JwksCache`."""
        super().__init__(url, fetch, _usable)


def _usable(entry: dict[str, Any]) -> VerifyingKey | None:
    if entry.get("use", "sig") != "sig":
        return None
    try:
        key = _verifying_key(entry)
    except (JoseError, ValueError, KeyError, TypeError):
        return None
    return key if key is not None and entry.get("alg", key.alg) == key.alg else None


def _verifying_key(entry: dict[str, Any]) -> VerifyingKey | None:
    if entry.get("kty") == "RSA":
        if len(entry["n"]) * 6 < MIN_RSA_BITS:  # base64: six bits per character
            return None
        return VerifyingKey("RS256", RSAKey.import_key({"kty": "RSA", "n": entry["n"], "e": entry["e"]}))
    if entry.get("kty") == "EC" and entry.get("crv") == "P-256":
        point = {"kty": "EC", "crv": "P-256", "x": entry["x"], "y": entry["y"]}
        return VerifyingKey("ES256", ECKey.import_key(point))
    return None
