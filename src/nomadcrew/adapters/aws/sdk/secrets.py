"""A secret in Secrets Manager. Functions that do different things have different secrets.

A secret of ours is JSON: `key` signs, and `older`, a list of previous keys, still verifies after a rotation. Keys
are derived from it by purpose. Other secrets have `expo_token`, `supabase_service_key`, `pexels_api_key`, or the
`username` and `password` of a database user.
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
    key: str = ""
    older: list[str] = []
    expo_token: str = ""
    supabase_service_key: str = ""
    pexels_api_key: str = ""
    username: str = ""
    password: str = ""


class Secrets:
    """Keys by purpose. The secret is fetched on first use and again after five minutes.

    If Secrets Manager is unreachable, the cached secret stays in use.
    """

    def __init__(self, client: AwsClient, arn: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._arn = arn
        self._monotonic = monotonic
        self._document: _Document | None = None
        self._fetch_again_at_s = 0.0
        self._lock = threading.Lock()

    def keys(self, purpose: str) -> tuple[bytes, ...]:
        """The keys for one purpose: the first signs, all of them verify.

        Blocks for one call every five minutes: the caller cannot continue without a key.

        Raises:
            Unavailable: the secret cannot be fetched and is not cached.
            ValueError: the secret has no valid key.
        """
        document = self._current()
        originals = (document.key, *document.older)
        if any(len(original) < MIN_KEY_CHARS for original in originals):
            raise ValueError(f"The secret's keys need at least {MIN_KEY_CHARS} characters.")
        return tuple(hmac.digest(original.encode(), purpose.encode(), hashlib.sha256) for original in originals)

    def key(self, purpose: str) -> bytes:
        """The signing key for one purpose."""
        return self.keys(purpose)[0]

    def texts(self, purpose: str) -> tuple[str, ...]:
        """The same keys in hexadecimal, for libraries that require text."""
        return tuple(key.hex() for key in self.keys(purpose))

    def expo_token(self) -> str:
        """The access token of the push service, or empty if it requires none; blocks and raises as `keys`."""
        return self._current().expo_token

    def supabase_service_key(self) -> str:
        """The key for writes to the mirror, or empty if there is none; see `keys` for blocking and errors."""
        return self._current().supabase_service_key

    def pexels_api_key(self) -> str:
        """The key for searches of photos, or empty if there is none; see `keys` for blocking and errors."""
        return self._current().pexels_api_key

    def database_user(self) -> tuple[str, str]:
        """The name and password of a database user; see `keys` for blocking and errors."""
        document = self._current()
        if not document.username or not document.password:
            raise ValueError("The secret has no name and password of a database user.")
        return document.username, document.password

    def _current(self) -> _Document:
        with self._lock:
            known = self._document
            if known is not None and self._monotonic() < self._fetch_again_at_s:
                return known
            self._fetch_again_at_s = self._monotonic() + FRESH_S
            try:
                self._document = known = _parse(self._fetch())
            except Unavailable:
                if known is None:
                    raise
                log.warning("secret not fetched, using the cached one")
            return known

    def _fetch(self) -> dict[str, Any]:
        """The response of Secrets Manager; runs on its own event loop, as the caller's may be running."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._ask()).result()

    async def _ask(self) -> dict[str, Any]:
        try:
            return await self._client.call("GetSecretValue", {"SecretId": self._arn})
        except AwsError as refused:
            raise Unavailable(details=f"secretsmanager: {refused.code}") from refused


def _parse(answer: dict[str, Any]) -> _Document:
    try:
        return msgspec.json.decode(str(answer.get("SecretString")), type=_Document)
    except msgspec.DecodeError:
        raise ValueError("The secret is not a JSON object with keys.") from None
