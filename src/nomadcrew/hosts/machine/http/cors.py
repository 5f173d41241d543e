"""CORS: the web pages that may call the API. Only browsers send an `Origin`; other clients are not restricted."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from nomadcrew.web.call import Reply
from nomadcrew.web.routes import METHODS

REQUEST_HEADERS = (
    "Origin, Content-Length, Content-Type, Authorization, X-Requested-With, Accept, X-CSRF-Token, "
    "Idempotency-Key, If-Match, X-Request-ID"
)
EXPOSED = (
    "Content-Length, ETag, Link, Retry-After, X-Request-ID, X-RateLimit-Limit, X-RateLimit-Remaining, "
    "X-RateLimit-Reset"
)
MAX_AGE_S = 43_200

_NOTHING: Mapping[str, str] = MappingProxyType({})
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\*\.)?([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
_SUBDOMAIN = r"[a-z0-9-]+(\.[a-z0-9-]+)*\."


class Cors:
    """The allowed origins, from the setting."""

    def __init__(self, origins: Iterable[str] = ("*",)) -> None:
        """`*` or an empty list allows every origin without credentials; `https://*.example.com` all subdomains.

        Raises:
            ValueError: an entry is not an origin; the message names it.
        """
        entries = [origin.strip().rstrip("/").lower() for origin in origins]
        self._any = not entries or "*" in entries
        for entry in () if self._any else entries:
            if not _ORIGIN.fullmatch(entry):
                raise ValueError(
                    f"{entry!r} is not an origin; use https://app.example.com or https://*.example.com."
                )
        self._exact = frozenset(entry for entry in entries if "*" not in entry)
        patterns = [re.escape(entry).replace(r"\*\.", _SUBDOMAIN) for entry in entries if "*." in entry]
        self._pattern = re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None

    def allows(self, origin: str | None, host: str) -> bool:
        """True if a page of `origin` may call; a page served by this host always may."""
        if origin is None or self._any:
            return True
        origin = origin.lower()
        if _is_own(origin, host) or origin in self._exact:
            return True
        return self._pattern is not None and self._pattern.fullmatch(origin) is not None

    def check(self, origin: str | None, host: str) -> Mapping[str, str] | None:
        """The headers to add to the reply; None: refuse the request with 403 and no body."""
        if origin is None or _is_own(origin.lower(), host):
            return _NOTHING
        if not self.allows(origin, host):
            return None
        return {**self._permission(origin), "access-control-expose-headers": EXPOSED}

    def preflight(self, headers: Mapping[str, str]) -> Reply:
        """The reply to OPTIONS: 204, or 403 for an origin that is not allowed.

        The permission is the same on every path, as on API Gateway, so that pages can read a 404 or 405.
        """
        origin = headers.get("origin")
        if not self.allows(origin, headers.get("host", "")):
            return Reply(403)
        if origin is None:
            return Reply(204)
        return Reply(
            204,
            headers={
                **self._permission(origin),
                "access-control-allow-methods": ", ".join(METHODS),
                "access-control-allow-headers": REQUEST_HEADERS,
                "access-control-max-age": str(MAX_AGE_S),
            },
        )

    def _permission(self, origin: str) -> dict[str, str]:
        if self._any:
            return {"access-control-allow-origin": "*"}
        return {
            "access-control-allow-origin": origin,
            "access-control-allow-credentials": "true",
            "vary": "Origin",
        }


def _is_own(origin: str, host: str) -> bool:
    return bool(host) and origin in (f"http://{host.lower()}", f"https://{host.lower()}")
