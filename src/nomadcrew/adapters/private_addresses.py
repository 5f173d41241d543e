"""Private addresses: a user's id with an HMAC of user and viewer, in base32."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from uuid import UUID

from nomadcrew.core.emails import PRIVATE_DOMAIN
from nomadcrew.core.ids import UserId
from nomadcrew.core.text import email_key

_ID_CHARS = 26  # base32 of 16 bytes, without padding
_PREFIX = "u-"
_LENGTH = len(_PREFIX) + 2 * _ID_CHARS


class KeyedPrivateAddresses:
    """`PrivateAddresses` without a store: nothing is written for a search, and no address expires."""

    def __init__(self, keys: Callable[[], Sequence[bytes]]) -> None:
        """`keys` returns the keys at each use: the first makes addresses, all of them verify."""
        self._keys = keys

    def address_of(self, user_id: UserId, viewer: UserId) -> str:
        proof = _proof(self._keys()[0], user_id, viewer)
        return f"{_PREFIX}{_base32(user_id.bytes)}{_base32(proof)}@{PRIVATE_DOMAIN}"

    def user_of(self, address: str, viewer: UserId) -> UserId | None:
        local, _, domain = email_key(address).partition("@")
        if domain != PRIVATE_DOMAIN or len(local) != _LENGTH or not local.startswith(_PREFIX):
            return None
        try:
            id_bytes, proof = (_bytes(local[start : start + _ID_CHARS]) for start in (2, 2 + _ID_CHARS))
        except (binascii.Error, ValueError):
            return None
        user_id = UserId(UUID(bytes=id_bytes))
        proofs = (_proof(key, user_id, viewer) for key in self._keys())
        return user_id if any(hmac.compare_digest(proof, valid) for valid in proofs) else None


def _proof(key: bytes, user_id: UserId, viewer: UserId) -> bytes:
    """128 bits: enough against guessing, as each guess is a request."""
    return hmac.digest(key, b"private address " + user_id.bytes + viewer.bytes, hashlib.sha256)[:16]


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _bytes(text: str) -> bytes:
    return base64.b32decode(text.upper() + "======")
