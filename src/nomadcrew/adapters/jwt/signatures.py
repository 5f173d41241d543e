"""Signatures of JWTs, of whatever kind."""

from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey

from nomadcrew.adapters.jwt.parse import Parts, invalid


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key with the one algorithm it may be used with, so that a token cannot choose another."""

    alg: str
    key: RSAKey | ECKey | OctKey


def verified_payload(parts: Parts, key: VerifyingKey) -> dict[str, Any]:
    """The claims, once the signature holds.

    Raises:
        Unauthenticated: it does not, or was made with another algorithm than the key's.
    """
    if parts.alg != key.alg:
        raise invalid()
    try:
        return jwt.decode(parts.token, key.key, algorithms=[key.alg]).claims
    except (JoseError, ValueError) as error:
        raise invalid() from error
