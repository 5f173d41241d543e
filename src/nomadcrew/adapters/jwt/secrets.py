"""Secrets that users receive: refresh tokens, and the codes in confirmation mails."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from nomadcrew.core.auth.errors import InvalidConfirmation, InvalidIdToken, InvalidMfaToken
from nomadcrew.core.ids import UserId

_MFA, _NONCE = b"second factor of ", b"nonce of an ID token "


def refresh_token(random_bytes: Callable[[int], bytes]) -> str:
    """A token of 256 random bits."""
    return _base64(random_bytes(32))


def next_refresh_token(secret: bytes, spent: str) -> str:
    """The token that replaces a spent one: always the same, and unknown to whom has the spent one only."""
    return _base64(hmac.digest(secret, b"next refresh token " + spent.encode(), hashlib.sha256))


def device_token(secret: bytes, user_id: UserId, random_bytes: Callable[[int], bytes]) -> str:
    """A random device id with an HMAC of it and the user."""
    device = random_bytes(16)
    return _base64(device + _device_hmac(secret, user_id, device))


def read_device_token(secrets: Sequence[bytes], token: str, user_id: UserId) -> str | None:
    """The device id in a token that one of `secrets` made for the user, else None."""
    data = _decoded(token)
    if data is None:
        return None
    device, proof = data[:16], data[16:]
    is_valid = any(hmac.compare_digest(proof, _device_hmac(secret, user_id, device)) for secret in secrets)
    return device.hex() if is_valid else None


def timed_token(secret: bytes, purpose: bytes, id_: UUID, expires_at: datetime) -> str:
    """An id and its expiry in seconds since 1970, with an HMAC."""
    content = id_.bytes + int(expires_at.timestamp()).to_bytes(8, "big")
    return _base64(content + _timed_hmac(secret, purpose, content))


def read_timed_token(secrets: Sequence[bytes], purpose: bytes, token: str, now: datetime) -> UUID | None:
    """The id in a token that one of `secrets` made for this purpose; None if there is none or it has expired."""
    data = _decoded(token, 16 + 8 + 32)
    if data is None:
        return None
    content, proof = data[:24], data[24:]
    is_valid = any(hmac.compare_digest(proof, _timed_hmac(secret, purpose, content)) for secret in secrets)
    if not is_valid or now.timestamp() >= int.from_bytes(content[16:], "big"):
        return None
    return UUID(bytes=content[:16])


def mfa_token(secret: bytes, user_id: UserId, expires_at: datetime) -> str:
    return timed_token(secret, _MFA, user_id, expires_at)


def read_mfa_token(secrets: Sequence[bytes], token: str, now: datetime) -> UserId:
    """The user of a token.

    Raises:
        InvalidMfaToken: the token is forged, malformed or expired.
    """
    user_id = read_timed_token(secrets, _MFA, token, now)
    if user_id is None:
        raise InvalidMfaToken
    return UserId(user_id)


def nonce(secret: bytes, nonce_id: UUID, expires_at: datetime) -> str:
    return timed_token(secret, _NONCE, nonce_id, expires_at)


def read_nonce(secrets: Sequence[bytes], text: str, now: datetime) -> UUID:
    """The id of a nonce.

    Raises:
        InvalidIdToken: the nonce is forged, malformed or expired.
    """
    nonce_id = read_timed_token(secrets, _NONCE, text, now)
    if nonce_id is None:
        raise InvalidIdToken
    return nonce_id


def confirmation_code(secret: bytes, confirmation_id: UUID) -> str:
    """The id of a registration or contact address, with an HMAC."""
    return _base64(confirmation_id.bytes + _hmac(secret, confirmation_id))


def read_confirmation_code(secrets: Sequence[bytes], code: str) -> UUID:
    """The id in a code whose HMAC one of `secrets` made.

    Raises:
        InvalidConfirmation: the code is forged or malformed.
    """
    data = _decoded(code)
    if data is None:
        raise InvalidConfirmation
    confirmation_id = UUID(bytes=data[:16])
    if not any(hmac.compare_digest(data[16:], _hmac(secret, confirmation_id)) for secret in secrets):
        raise InvalidConfirmation
    return confirmation_id


def _hmac(secret: bytes, confirmation_id: UUID) -> bytes:
    return hmac.digest(secret, b"confirm registration " + confirmation_id.bytes, hashlib.sha256)


def _device_hmac(secret: bytes, user_id: UserId, device: bytes) -> bytes:
    return hmac.digest(secret, b"device " + user_id.bytes + device, hashlib.sha256)


def _timed_hmac(secret: bytes, purpose: bytes, content: bytes) -> bytes:
    return hmac.digest(secret, purpose + content, hashlib.sha256)


def _decoded(text: str, length: int = 16 + 32) -> bytes | None:
    """`length` bytes, by default those of an id and its HMAC; None if the text is something else."""
    try:
        data = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return data if len(data) == length else None


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
