"""Caches the keys that an issuer publishes; fetches them when needed, off the event loop."""

import asyncio
import http.client
import json
import logging
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from nomadcrew.adapters.http.redirects import NoRedirects
from nomadcrew.core.errors import Unavailable

log = logging.getLogger("nomadcrew.jwks")

FRESH_S = 15 * 60
STALE_S = 60 * 60  # how long cached keys stay valid while the issuer is unreachable
UNKNOWN_KID_PAUSE_S = 60
FAILURE_PAUSE_S = 5
TIMEOUT_S = 5.0
MAX_BYTES = 256 * 1024

Fetch = Callable[[str], Awaitable[bytes]]
Key = TypeVar("Key")


class JwksCache(Generic[Key]):
    """Published keys by `kid`."""

    def __init__(self, url: str, fetch: Fetch, read: Callable[[dict[str, Any]], Key | None]) -> None:
        """`fetch` gets the document; its OSError and ValueError count as an outage.

        `read` converts an entry to a key; None if the entry is not usable.

        Raises:
            ValueError: `url` is not an http or https URL.
        """
        if urlsplit(url).scheme not in ("https", "http") or not urlsplit(url).hostname:
            raise ValueError(f"{url!r} is not the URL of a JWKS; it must start with https://.")
        self._url = url
        self._fetch = fetch
        self._read = read
        self._keys: dict[str, Key] = {}
        self._fetched_at_s: float | None = None
        self._next_fetch_at_s = float("-inf")
        self._failed = False
        self._fetch_lock = asyncio.Lock()

    async def key(self, kid: str, *, now: datetime) -> Key | None:
        """The key with that `kid`; None if the issuer has none.

        An unknown `kid` causes at most one fetch per minute.

        Raises:
            Unavailable: the keys cannot be fetched, and this one is unknown or was fetched over an hour ago.
        """
        now_s = now.timestamp()
        if not self._is_fresh(kid, now_s):
            async with self._fetch_lock:
                if not self._is_fresh(kid, now_s) and now_s >= self._next_fetch_at_s:
                    await self._refresh(now_s)
        known = self._keys.get(kid)
        if self._failed and (known is None or now_s >= (self._fetched_at_s or 0) + STALE_S):
            raise Unavailable("Access tokens cannot be verified at the moment. Try again shortly.")
        return known

    async def all(self, *, now: datetime) -> Mapping[str, Key]:
        """All keys, by `kid`.

        Raises:
            Unavailable: the keys cannot be fetched, and were fetched over an hour ago or never.
        """
        now_s = now.timestamp()
        async with self._fetch_lock:
            fetched_at_s = self._fetched_at_s
            if (fetched_at_s is None or now_s >= fetched_at_s + FRESH_S) and now_s >= self._next_fetch_at_s:
                await self._refresh(now_s)
        if self._failed and now_s >= (self._fetched_at_s or 0) + STALE_S:
            raise Unavailable("The keys of access tokens cannot be fetched at the moment. Try again shortly.")
        return self._keys

    def _is_fresh(self, kid: str, now_s: float) -> bool:
        return kid in self._keys and self._fetched_at_s is not None and now_s < self._fetched_at_s + FRESH_S

    async def _refresh(self, now_s: float) -> None:
        try:
            keys = read_keys(await asyncio.wait_for(self._fetch(self._url), 2 * TIMEOUT_S), self._read)
        except (OSError, ValueError, http.client.HTTPException) as error:
            log.warning("keys not fetched", extra={"fields": {"reason": type(error).__name__}})
            self._failed = True
            self._next_fetch_at_s = now_s + FAILURE_PAUSE_S
            return
        self._keys = keys
        self._failed = False
        self._fetched_at_s = now_s
        self._next_fetch_at_s = now_s + UNKNOWN_KID_PAUSE_S


def read_keys(document: bytes, read: Callable[[dict[str, Any]], Key | None]) -> dict[str, Key]:
    """The usable keys of a JWKS; others are ignored.

    Raises:
        ValueError: the document is not a JWKS.
    """
    value = json.loads(document)
    if not isinstance(value, dict) or not isinstance(value.get("keys"), list):
        raise ValueError("not a JWKS")  # noqa: TRY004 — the value of a document, not the type of an argument
    usable = {}
    for entry in value["keys"]:
        if isinstance(entry, dict) and isinstance(entry.get("kid"), str) and (key := read(entry)) is not None:
            usable[entry["kid"]] = key
    return usable


def fetcher(headers: Mapping[str, str]) -> Fetch:
    """A `Fetch` in a thread, with these headers (Supabase requires its anon key)."""

    async def fetch(url: str) -> bytes:
        return await asyncio.to_thread(_get, url, dict(headers))

    return fetch


def _get(url: str, headers: dict[str, str]) -> bytes:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 — JwksSource accepts http(s) only
    opener = urllib.request.build_opener(NoRedirects)
    with opener.open(request, timeout=TIMEOUT_S) as response:
        document: bytes = response.read(MAX_BYTES + 1)
    if len(document) > MAX_BYTES:
        raise ValueError("the document is too large")
    return document
