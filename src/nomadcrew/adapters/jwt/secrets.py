"""Secrets that users receive: refresh tokens, and the codes in confirmation mails."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from uuid import UUID

from nomadcrew.core.auth.errors import InvalidConfirmation

_CODE_BYTES = 16 + 32


def refresh_token(random_bytes: Callable[[int], bytes]) -> str:
    """A token of 256 random bits."""
    return _base64(random_bytes(32))


def confirmation_code(secret: bytes, confirmation_id: UUID) -> str:
    """The id of a registration or contact address, with an HMAC."""
    return _base64(confirmation_id.bytes + _hmac(secret, confirmation_id))


def read_confirmation_code(secrets: Sequence[bytes], code: str) -> UUID:
    """The id in a code whose HMAC one of `secrets` made.

    Raises:
        InvalidConfirmation: the code is forged or malformed.
    """
    try:
        data = base64.b64decode(code.encode() + b"=" * (-len(code) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidConfirmation from None
    if len(data) != _CODE_BYTES:
        raise InvalidConfirmation
    confirmation_id = UUID(bytes=data[:16])
    if not any(hmac.compare_digest(data[16:], _hmac(secret, confirmation_id)) for secret in secrets):
        raise InvalidConfirmation
    return confirmation_id


def _hmac(secret: bytes, confirmation_id: UUID) -> bytes:
    return hmac.digest(secret, b"confirm registration " + confirmation_id.bytes, hashlib.sha256)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
