"""JWTs signed with a shared secret (HS256 only), with the standard library only."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from nomadcrew.adapters.jwt.parse import UnverifiedToken, invalid, payload_of

ALG = "HS256"
_HEADER = b'{"typ":"JWT","alg":"HS256"}'


def sign(claims: Mapping[str, Any], secret: bytes) -> str:
    """A signed token with these claims."""
    payload = json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()
    signed = b".".join(map(_base64, (_HEADER, payload)))
    return b".".join((signed, _signature(signed, secret))).decode()


def verified_payload(parts: UnverifiedToken, secret: bytes) -> dict[str, Any]:
    """The claims, after a check of the signature.

    Raises:
        Unauthenticated: the signature is wrong, or the token requires another algorithm or an unknown extension.
    """
    if parts.alg != ALG or parts.critical:
        raise invalid()
    signed, _, signature = parts.token.encode(errors="replace").rpartition(b".")
    # Compared as text, so that no other base64 spelling of the same bits passes.
    if not hmac.compare_digest(_signature(signed, secret), signature):
        raise invalid()
    return payload_of(parts)


def _signature(signed: bytes, secret: bytes) -> bytes:
    return _base64(hmac.digest(secret, signed, hashlib.sha256))


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
