"""Checks the signatures of JWTs, with any algorithm."""

from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey
from msgspec import Struct

from nomadcrew.adapters.jwt.parse import UnverifiedToken, invalid


class VerifyingKey(Struct, frozen=True):
    """A key with its only permitted algorithm, so that a token cannot choose another."""

    alg: str
    key: RSAKey | ECKey | OctKey


def verified_payload(parts: UnverifiedToken, key: VerifyingKey) -> dict[str, Any]:
    """The claims, after a check of the signature.

    Raises:
        Unauthenticated: the signature is wrong, or uses another algorithm than the key's.
    """
    if parts.alg != key.alg:
        raise invalid()
    try:
        return jwt.decode(parts.token, key.key, algorithms=[key.alg]).claims
    except (JoseError, ValueError) as error:
        raise invalid() from error
