"""Parses JWTs and checks the claims that are the same for every issuer; independent of keys."""

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from nomadcrew.core.errors import Unauthenticated
from nomadcrew.core.ids import UserId, parse_uuid

SKEW_S = 60
MAX_TOKEN_CHARS = 16_384


class UnverifiedToken(Struct, frozen=True):
    """Parts of a token that is not verified yet: to be used only to find the key."""

    token: str
    alg: str
    kid: str | None
    issuer: str
    critical: bool = False  # the header names extensions that a reader must understand


def invalid() -> Unauthenticated:
    return Unauthenticated("The access token is not valid.")


def parse(token: str) -> UnverifiedToken:
    """The parts that name the issuer, the key and the algorithm.

    Raises:
        Unauthenticated: the token is not a signed JWT.
    """
    pieces = token.split(".")
    if len(pieces) != 3 or len(token) > MAX_TOKEN_CHARS:
        raise invalid()
    header, payload = _object(pieces[0]), _object(pieces[1])
    alg, kid, issuer = header.get("alg"), header.get("kid"), payload.get("iss")
    if not isinstance(alg, str) or not isinstance(kid, str | None) or not isinstance(issuer, str):
        raise invalid()
    return UnverifiedToken(token, alg, kid, issuer, "crit" in header)


def payload_of(parts: UnverifiedToken) -> dict[str, Any]:
    """The payload of a token; check the signature before using it."""
    return _object(parts.token.split(".")[1])


def check_times(payload: dict[str, Any], now: datetime) -> datetime:
    """The expiry time of a token, after a check of its times. Clocks may differ by one minute.

    Raises:
        Unauthenticated: `token_expired` after `exp`; `auth_failed` if it is from the future or has no `exp`.
    """
    now_s = now.timestamp()
    expires_at_s = _number(payload, "exp")
    if expires_at_s is None:
        raise invalid()
    if any((_number(payload, name) or 0) > now_s + SKEW_S for name in ("nbf", "iat")):
        raise invalid()
    if expires_at_s + SKEW_S <= now_s:
        raise Unauthenticated("The access token has expired.", code="token_expired")
    try:
        return datetime.fromtimestamp(expires_at_s, UTC)
    except (ValueError, OverflowError, OSError):
        raise invalid() from None


def subject(payload: dict[str, Any]) -> UserId:
    """The user id in `sub`. Raises Unauthenticated: it is missing or malformed."""
    sub = payload.get("sub")
    user_id = parse_uuid(sub) if isinstance(sub, str) else None
    if user_id is None:
        raise invalid()
    return UserId(user_id)


def _number(payload: dict[str, Any], name: str) -> float | None:
    value = payload.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise invalid()
    return float(value)


def _object(piece: str) -> dict[str, Any]:
    try:
        padded = piece.encode("ascii") + b"=" * (-len(piece) % 4)
        value = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeError, binascii.Error, ValueError, RecursionError):
        raise invalid() from None
    if not isinstance(value, dict):
        raise invalid()
    return value
