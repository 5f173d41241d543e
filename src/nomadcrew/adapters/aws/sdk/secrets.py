"""Our secrets on AWS: one in Secrets Manager, from which a key is derived for each purpose.

The secret is JSON: `key`, and to rotate it `older`, a list of keys that made what is still about. All of them
verify, `key` makes. Beside them may stand what others gave us: `expo_token` and `supabase_service_key`.
"""

import asyncio
import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.errors import Unavailable

log = logging.getLogger("nomadcrew.secrets")

FRESH_S = 5 * 60
MIN_KEY_CHARS = 32


class _Document(msgspec.Struct):
    key: str
    older: list[str] = []
    expo_token: str = ""
    supabase_service_key: str = ""


class Secrets:
    """Keys by purpose. The secret is fetched when first needed and again after five minutes.

    While Secrets Manager cannot be asked, what is known stays good.
    """

    def __init__(self, client: AwsClient, arn: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._arn = arn
        self._monotonic = monotonic
        self._document: _Document | None = None
        self._fetch_again_at_s = 0.0
        self._one_at_a_time = threading.Lock()

    def keys(self, purpose: str) -> tuple[bytes, ...]:
        """The keys for one purpose: the first makes, all of them verify.

        Blocks once in five minutes, for one call: those who need a key can do nothing without it.

        Raises:
            Unavailable: the secret was never fetched, and cannot be just now.
            ValueError: there is no key in it.
        """
        document = self._current()
        return tuple(
            hmac.digest(secret.encode(), purpose.encode(), hashlib.sha256)
            for secret in (document.key, *document.older)
        )

    def key(self, purpose: str) -> bytes:
        """The key that makes, for one purpose."""
        return self.keys(purpose)[0]

    def texts(self, purpose: str) -> tuple[str, ...]:
        """The same keys in hexadecimal, for what takes text."""
        return tuple(key.hex() for key in self.keys(purpose))

    def expo_token(self) -> str:
        """The access token of the push service, empty where it asks for none; blocks and fails as `keys`."""
        return self._current().expo_token

    def supabase_service_key(self) -> str:
        """The key that writes to the mirror, empty where there is none; blocks and fails as `keys`."""
        return self._current().supabase_service_key

    def _current(self) -> _Document:
        with self._one_at_a_time:
            known = self._document
            if known is not None and self._monotonic() < self._fetch_again_at_s:
                return known
            self._fetch_again_at_s = self._monotonic() + FRESH_S
            try:
                self._document = known = _parse(self._fetch())
            except Unavailable:
                if known is None:
                    raise
                log.warning("secret not fetched; the one known is used on")
            return known

    def _fetch(self) -> dict[str, Any]:
        """The answer of Secrets Manager; on a loop of its own, for the caller's may be running."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._ask()).result()

    async def _ask(self) -> dict[str, Any]:
        try:
            return await self._client.call("GetSecretValue", {"SecretId": self._arn})
        except AwsError as refused:
            raise Unavailable(details=f"secretsmanager: {refused.code}") from refused


def _parse(answer: dict[str, Any]) -> _Document:
    try:
        document = msgspec.json.decode(str(answer.get("SecretString")), type=_Document)
    except msgspec.DecodeError:
        raise ValueError('The secret is not JSON with a "key".') from None
    if any(len(secret) < MIN_KEY_CHARS for secret in (document.key, *document.older)):
        raise ValueError(f"The secret's keys need {MIN_KEY_CHARS} characters.")
    return document
