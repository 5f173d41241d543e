"""Thousands of WebSocket clients in one process, which do nothing but note when a text arrived.

A client library would cost more than the server under measurement. These send the upgrade, and after it look for a
marker in the bytes that come; they answer no pings, so nothing here may run for longer than a server waits for one.
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


class Ear:
    """What all of the clients listen for, and when each of them heard it."""

    def __init__(self) -> None:
        self.marker = b""
        self.heard_s: list[float] = []
        self._expected = 0
        self._all = asyncio.Event()

    def listen_for(self, marker: bytes, expected: int) -> None:
        self.marker, self.heard_s, self._expected = marker, [], expected
        self._all.clear()

    def note(self) -> None:
        self.heard_s.append(time.perf_counter())
        if len(self.heard_s) == self._expected:
            self._all.set()

    async def all_heard(self) -> Sequence[float]:
        """When each client heard the marker.

        Raises:
            CannotMeasure: some did not.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._all.wait()
        except TimeoutError:
            raise CannotMeasure(f"{len(self.heard_s)} of {self._expected} sockets heard an event.") from None
        return self.heard_s


class Listener(asyncio.Protocol):
    """One client."""

    __slots__ = ("_ear", "_end", "_opened", "_request", "transport")

    def __init__(self, request: bytes, ear: Ear, opened: "asyncio.Future[None]") -> None:
        self._request = request
        self._ear = ear
        self._opened: asyncio.Future[None] | None = opened
        self._end = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's share no base with it
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        data = self._end + data
        if self._opened is not None:
            self._open(data)
            return
        marker = self._ear.marker
        if marker and marker in data:
            self._end = b""
            self._ear.note()
        else:
            self._end = data[-len(marker) :] if marker else b""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(CannotMeasure("A server closed a socket that was being opened."))

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


async def open_listeners(host: str, port: int, paths: Iterable[str], ear: Ear) -> list[Listener]:
    """A client for each path, all of them connected.

    Raises:
        CannotMeasure: one was refused.
    """
    loop, free = asyncio.get_running_loop(), asyncio.Semaphore(OPENING_AT_ONCE)

    async def one(path: str) -> Listener:
        async with free:
            opened: asyncio.Future[None] = loop.create_future()
            request = _upgrade(host, port, path)
            _, listener = await loop.create_connection(lambda: Listener(request, ear, opened), host, port)
            async with asyncio.timeout(TIMEOUT_S):
                await opened
            return listener

    return list(await asyncio.gather(*map(one, paths)))


def _upgrade(host: str, port: int, path: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
