"""Receipts of erasures: their JSON with its HMAC, both in base64. Nothing is stored to verify them."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence

import msgspec

from nomadcrew.core.erasure.model import Erasure, InvalidReceipt

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Erasure).decode


class KeyedReceipts:
    """`Receipts` without a stored secret."""

    def __init__(self, keys: Callable[[], Sequence[bytes]]) -> None:
        """`keys` returns the keys at each use: the first signs, all of them verify."""
        self._keys = keys

    def issue(self, erasure: Erasure) -> str:
        content = _encode(erasure)
        return f"{_text(content)}.{_text(_proof(self._keys()[0], content))}"

    def read(self, receipt: str) -> Erasure:
        parts = receipt.strip().split(".")
        try:
            content, proof = (base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_") for part in parts)
            if any(hmac.compare_digest(proof, _proof(key, content)) for key in self._keys()):
                return _decode(content)
        except (ValueError, binascii.Error):  # also that of msgspec
            pass
        raise InvalidReceipt


def _proof(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, b"erasure " + content, hashlib.sha256)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
