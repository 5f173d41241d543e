"""Thousands of WebSocket clients in one process, which only record when a text arrived.

A client library would cost more than the measured server. These clients send the upgrade and then search the
received bytes for a marker. They answer no pings, so a measurement must end before the server's ping timeout.
"""

import asyncio
import base64
import os
import time
from collections.abc import Iterable, Sequence
from typing import cast

from bench.machine import CannotMeasure

OPENING_AT_ONCE = 100
TIMEOUT_S = 60.0


class Receiver:
    """The marker that all clients wait for, and the times at which they received it."""

    def __init__(self) -> None:
        self.marker = b""
        self.received_s: list[float] = []
        self._expected = 0
        self._all = asyncio.Event()

    def before_write(self, marker: bytes, expected: int) -> None:
        self.marker, self.received_s, self._expected = marker, [], expected
        self._all.clear()

    def record(self) -> None:
        self.received_s.append(time.perf_counter())
        if len(self.received_s) == self._expected:
            self._all.set()

    async def all_received(self) -> Sequence[float]:
        """The time at which each client received the marker.

        Raises:
            CannotMeasure: some clients did not receive it.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._all.wait()
        except TimeoutError:
            raise CannotMeasure(
                f"Only {len(self.received_s)} of {self._expected} sockets received an event."
            ) from None
        return self.received_s


class Listener(asyncio.Protocol):
    """One client."""

    __slots__ = ("_end", "_opened", "_receiver", "_request", "_seen", "transport")

    def __init__(self, request: bytes, receiver: Receiver, opened: "asyncio.Future[None]") -> None:
        self._request = request
        self._receiver = receiver
        self._opened: asyncio.Future[None] | None = opened
        self._end = b""
        self._seen = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports have no common base class with it
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        data = self._end + data
        if self._opened is not None:
            self._open(data)
            return
        marker = self._receiver.marker
        if marker == self._seen:
            return  # the notification of the same message
        if marker in data:
            self._end, self._seen = b"", marker
            self._receiver.record()
        else:
            self._end = data[-len(marker) :]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(CannotMeasure("A server closed a socket before it was open."))

    def _open(self, data: bytes) -> None:
        head, end, _ = data.partition(b"\r\n\r\n")
        if not end:
            self._end = data
            return
        self._end = b""
        opened, self._opened = self._opened, None
        assert opened is not None
        if head.startswith(b"HTTP/1.1 101"):
            opened.set_result(None)
        else:
            opened.set_exception(CannotMeasure(f"A server refused a socket: {head[:200]!r}"))


async def open_listeners(host: str, port: int, paths: Iterable[str], receiver: Receiver) -> list[Listener]:
    """A connected client for each path.

    Raises:
        CannotMeasure: a socket was refused.
    """
    loop, limit = asyncio.get_running_loop(), asyncio.Semaphore(OPENING_AT_ONCE)

    async def open_listener(path: str) -> Listener:
        async with limit:
            opened: asyncio.Future[None] = loop.create_future()
            request = _upgrade(host, port, path)
            _, listener = await loop.create_connection(lambda: Listener(request, receiver, opened), host, port)
            async with asyncio.timeout(TIMEOUT_S):
                await opened
            return listener

    return list(await asyncio.gather(*map(open_listener, paths)))


def _upgrade(host: str, port: int, path: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
