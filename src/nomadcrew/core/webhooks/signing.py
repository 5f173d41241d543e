"""Signatures after the Standard Webhooks scheme.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

SECRET_PREFIX = "whsec_"  # noqa: S105 — the prefix, not a secret


def secret_text(secret: bytes) -> str:
    """A secret as its admin sees it once."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def signed_headers(id_: str, body: bytes, secrets: Sequence[bytes], *, now: datetime) -> Mapping[str, str]:
    """The headers of a message. Each secret signs: during a rotation, receivers know one or the other."""
    timestamp = str(int(now.timestamp()))
    content = f"{id_}.{timestamp}.".encode() + body
    signatures = [
        "v1," + base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode() for secret in secrets
    ]
    return {"webhook-id": id_, "webhook-timestamp": timestamp, "webhook-signature": " ".join(signatures)}
