"""One HTTP request and its response, with the standard library and off the event loop."""

import asyncio
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field

from nomadcrew.adapters.http.redirects import NoRedirects
from nomadcrew.core.errors import Unavailable

MAX_BYTES = 4 * 1024 * 1024
PART_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    body: bytes = field(repr=False)


async def exchange(
    method: str, url: str, body: bytes | None, headers: Mapping[str, str], *, timeout_s: float
) -> HttpAnswer:
    """The response of a service, with any status.

    Raises:
        Unavailable: no response in time, or an unreadable one; `details` is the error's class, never an address.
    """
    try:
        async with asyncio.timeout(2 * timeout_s):
            return await asyncio.to_thread(_exchange, method, url, body, dict(headers), timeout_s)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(details=type(error).__name__) from None


def _exchange(method: str, url: str, body: bytes | None, headers: dict[str, str], timeout_s: float) -> HttpAnswer:
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 — settings accept http(s) only
    opener = urllib.request.build_opener(NoRedirects)
    deadline_s = time.monotonic() + timeout_s
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return HttpAnswer(response.status, _read(response, deadline_s))
    except urllib.error.HTTPError as refused:
        with refused:
            return HttpAnswer(refused.code, _read(refused, deadline_s))


def _read(response: http.client.HTTPResponse | urllib.error.HTTPError, deadline_s: float) -> bytes:
    """The whole body. Each part restarts the timeout of the socket, so parts that trickle in need a deadline."""
    body = bytearray()
    while part := response.read1(PART_BYTES):
        body += part
        if len(body) > MAX_BYTES:
            raise ValueError("the response is too large")
        if time.monotonic() > deadline_s:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(bytes(body), response.length)
    return bytes(body)
