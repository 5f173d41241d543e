"""Secrets of webhooks: HMACs of their ids."""

import hashlib
import hmac
from collections.abc import Callable, Sequence

from nomadcrew.core.ids import WebhookId


class KeyedWebhookSecrets:
    """`WebhookSecrets` without a store: a reader of the database learns no secret."""

    def __init__(self, keys: Callable[[], Sequence[bytes]]) -> None:
        """`keys` returns the keys at each use, the newest first."""
        self._keys = keys

    def secrets_of(self, webhook_id: WebhookId) -> Sequence[bytes]:
        return [hmac.digest(key, b"webhook " + webhook_id.bytes, hashlib.sha256) for key in self._keys()]
