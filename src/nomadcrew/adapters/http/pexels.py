"""Photos from Pexels, or a server with its API.

Source: https://www.pexels.com/api/documentation/#photos-search
"""

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import msgspec

from nomadcrew.adapters.http.breaker import Breaker
from nomadcrew.adapters.http.exchange import exchange
from nomadcrew.core.backgrounds.model import MAX_PHOTOGRAPHER, MAX_URL, FoundPhoto, PhotoSearchRefused
from nomadcrew.core.errors import Unavailable

# Of the whole request.
TIMEOUT_S = 2.0
_BUSY = frozenset({408, 425, 429})


class _Sources(msgspec.Struct):
    landscape: str


class _Photo(msgspec.Struct):
    src: _Sources
    photographer: str
    url: str


class _Answer(msgspec.Struct):
    photos: list[_Photo]


_answer_in = msgspec.json.Decoder(_Answer).decode


class Pexels:
    """`PhotoSearch` at `url`, such as https://api.pexels.com/v1/search."""

    def __init__(
        self,
        url: str,
        api_key: Callable[[], str | None],
        *,
        breaker: Breaker | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`api_key` is called for each request; without a key no photo is found."""
        self._url = url
        self._api_key = api_key
        self._breaker = breaker or Breaker()
        self._timeout_s = timeout_s

    async def find(self, query: str) -> FoundPhoto | None:
        key = self._api_key()
        if not key:
            return None
        asked = urlencode({"query": query, "per_page": 1, "orientation": "landscape"})
        with self._breaker.call():
            answer = await exchange(
                "GET", f"{self._url}?{asked}", None, {"authorization": key, "accept": "application/json"},
                timeout_s=self._timeout_s,
            )  # fmt: skip
            if answer.status in _BUSY or answer.status >= 500:
                raise Unavailable(details=f"pexels: {answer.status}")
            if answer.status != 200:
                raise PhotoSearchRefused(f"pexels: {answer.status}")
            try:
                photos = _answer_in(answer.body).photos
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise Unavailable(details=f"pexels: {type(error).__name__}") from None
        return _found(photos[0]) if photos else None


def _found(photo: _Photo) -> FoundPhoto | None:
    """The photo, unless clients could not show it with its credit."""
    photographer = photo.photographer.strip()[:MAX_PHOTOGRAPHER]
    if not photographer.isprintable() or not photographer:
        return None
    if not (_is_address(photo.src.landscape) and _is_address(photo.url)):
        return None
    return FoundPhoto(photo.src.landscape, photographer, photo.url)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return len(text) <= MAX_URL and text.isprintable() and parts.scheme == "https" and bool(parts.hostname)
