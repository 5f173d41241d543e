"""Tokens of files, encrypted with AES-SIV (RFC 5297): document, user, audit entry and expiry, in base64url.

The encryption needs no nonce: equal grants have equal tokens, so that a repeated request has the same reply.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from nomadcrew.core.documents.model import BadToken, FileGrant, TokenExpired
from nomadcrew.core.ids import AuditId, DocumentId, UserId

_PURPOSE = b"document file token"
# Three ids, the expiry time and a tag: a multiple of three, so that base64 needs no padding.
_TOKEN_BYTES = 3 * 16 + 8 + 16


class EncryptedFileTokens:
    """`FileTokens` without a store."""

    def __init__(self, secrets: Callable[[], Sequence[bytes]]) -> None:
        """`secrets` returns the secrets at each use: the first encrypts, all of them decrypt."""
        self._secrets = secrets

    def issue(self, grant: FileGrant) -> str:
        ids = grant.document_id.bytes + grant.user_id.bytes + grant.audit_id.bytes
        content = ids + int(grant.expires_at.timestamp()).to_bytes(8, "big")
        return base64.urlsafe_b64encode(_cipher(self._secrets()[0]).encrypt(content, [_PURPOSE])).decode()

    def read(self, token: str, *, now: datetime) -> FileGrant:
        content = self._opened(token)
        expires_s = int.from_bytes(content[48:], "big")
        if now.timestamp() >= expires_s:
            raise TokenExpired
        return FileGrant(
            DocumentId(UUID(bytes=content[:16])),
            UserId(UUID(bytes=content[16:32])),
            AuditId(UUID(bytes=content[32:48])),
            datetime.fromtimestamp(expires_s, UTC),
        )

    def _opened(self, token: str) -> bytes:
        try:
            sealed = base64.b64decode(token, altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise BadToken from None
        if len(sealed) != _TOKEN_BYTES:
            raise BadToken
        for secret in self._secrets():
            try:
                return _cipher(secret).decrypt(sealed, [_PURPOSE])
            except InvalidTag:
                continue
        raise BadToken


def _cipher(secret: bytes) -> AESSIV:
    return AESSIV(hmac.digest(secret, _PURPOSE, hashlib.sha512))
