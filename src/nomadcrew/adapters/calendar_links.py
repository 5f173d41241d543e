"""Tokens of calendar links: a calendar's id with its HMAC, in base64."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from uuid import UUID

from nomadcrew.core.ids import CalendarId

_ID_BYTES, _PROOF_BYTES = 16, 17  # together a multiple of three: base64 without padding
_LENGTH = (_ID_BYTES + _PROOF_BYTES) // 3 * 4


class KeyedCalendarLinks:
    """`CalendarLinks` without a stored secret."""

    def __init__(self, keys: Callable[[], Sequence[bytes]]) -> None:
        """`keys` returns the keys at each use: the first makes tokens, all of them verify."""
        self._keys = keys

    def token_of(self, calendar_id: CalendarId) -> str:
        proof = _proof(self._keys()[0], calendar_id.bytes)
        return base64.urlsafe_b64encode(calendar_id.bytes + proof).decode()

    def calendar_of(self, token: str) -> CalendarId | None:
        if len(token) != _LENGTH:
            return None
        try:
            data = base64.b64decode(token, altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        id_bytes, proof = data[:_ID_BYTES], data[_ID_BYTES:]
        is_valid = any(hmac.compare_digest(proof, _proof(key, id_bytes)) for key in self._keys())
        return CalendarId(UUID(bytes=id_bytes)) if is_valid else None


def _proof(key: bytes, calendar_id: bytes) -> bytes:
    """136 bits: enough against guessing, as each guess is a request."""
    return hmac.digest(key, b"calendar " + calendar_id, hashlib.sha256)[:_PROOF_BYTES]
