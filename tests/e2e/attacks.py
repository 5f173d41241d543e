"""Clients that misbehave, each in one way, at a rate that leaves the machine to the server.

Every attack runs until it is cancelled. Each has an address of its own, so that none uses up another's connections.
"""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

from nomadcrew.web.routes import MAX_BODY_BYTES

MIB = 1 << 20
HOST = b"Host: host\r\n"
MASK = b"\0\0\0\0"
EMPTY_PING = b"\x89\x80" + MASK
EMPTY_OBJECT = b"\x81\x82" + MASK + b"{}"

Attack = Callable[["Attacker"], Awaitable[None]]


class Attacker:
    """Connections to a server from one address, and the credentials that an attack may use."""

    def __init__(self, url: str, source: str, *, token: str = "", link: str = "") -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._source = source
        self._open: list[socket.socket] = []
        self.token = token
        self.link = link

    async def connect(self, first: bytes = b"") -> socket.socket | None:
        """A connection that has sent `first`; None if the server refuses it."""
        loop = asyncio.get_running_loop()
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what is unread stays with the server
        made.bind((self._source, 0))
        self._open.append(made)
        try:
            async with asyncio.timeout(2):
                await loop.sock_connect(made, self._target)
                await loop.sock_sendall(made, first)
        except (OSError, TimeoutError):
            self.drop(made)
            return None
        return made

    async def keep(self, count: int, first: bytes, again: bytes = b"", *, every_s: float = 0.5) -> None:
        """Hold `count` connections that have sent `first` and send `again` now and then; replace lost ones."""
        loop = asyncio.get_running_loop()
        held: list[socket.socket] = []
        while True:
            while len(held) < count:
                made = await self.connect(first)
                if made is None:
                    break
                held.append(made)
                await asyncio.sleep(0.005)
            await asyncio.sleep(every_s)
            for each in list(held):
                try:
                    async with asyncio.timeout(0.2):
                        await loop.sock_sendall(each, again)
                except (OSError, TimeoutError):
                    held.remove(each)
                    self.drop(each)

    async def pour(self, first: bytes, more: bytes, *, per_s: int) -> None:
        """Send `more` without end after `first`, `per_s` bytes a second; reconnect when cut off."""
        loop = asyncio.get_running_loop()
        pause_s = len(more) / per_s
        while True:
            made = await self.connect(first)
            try:
                while made is not None:
                    async with asyncio.timeout(1):
                        await loop.sock_sendall(made, more)
                    await asyncio.sleep(pause_s)
            except (OSError, TimeoutError):
                self.drop(made)
            await asyncio.sleep(0.1)

    def drop(self, made: socket.socket | None) -> None:
        if made in self._open:
            self._open.remove(made)
            made.close()

    def close(self) -> None:
        for each in self._open:
            each.close()
        self._open.clear()

    def upgrade(self) -> bytes:
        """The head of a handshake."""
        return (
            b"GET /v1/ws?token=%b HTTP/1.1\r\n" % self.token.encode() + HOST + b"Upgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )


async def growing_header(by: Attacker) -> None:
    await by.pour(b"GET / HTTP/1.1\r\nX: ", b"a" * 65_536, per_s=4 * MIB)


async def dripped_header(by: Attacker) -> None:
    await by.keep(50, b"GET / HTTP/1.1\r\nX: " + b"a" * 60_000, b"a", every_s=0.1)


async def many_headers(by: Attacker) -> None:
    await by.keep(50, b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 16_000)


async def pipelined(by: Attacker) -> None:
    await by.pour(b"", (b"GET /nope HTTP/1.1\r\n" + HOST + b"\r\n") * 2_000, per_s=1 * MIB)


async def bodies_without_token(by: Attacker) -> None:
    head = b"POST /v1/trips/019a0000-0000-7000-8000-00000000000a/chat/attachments HTTP/1.1\r\n" + HOST
    await by.keep(60, head + b"Content-Length: %d\r\n\r\n" % (10 * MIB) + b"x" * 300_000, b"x" * 1_000)


async def login_bodies(by: Attacker) -> None:
    head = b"POST /v1/auth/login HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % MAX_BODY_BYTES
    await by.keep(100, head + b"x" * (MAX_BODY_BYTES - 2), b"")


async def chunks_of_one_byte(by: Attacker) -> None:
    head = b"POST /v1/auth/login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    await by.pour(head, b"1\r\nx\r\n" * 1_000, per_s=256 * 1024)


async def idle_connections(by: Attacker) -> None:
    await by.keep(700, b"")


async def half_handshakes(by: Attacker) -> None:
    await by.keep(100, by.upgrade()[:-4])


async def unread_downloads(by: Attacker) -> None:
    await by.keep(80, b"GET %b HTTP/1.1\r\n" % by.link.encode() + HOST + b"\r\n")


async def unread_pages(by: Attacker) -> None:
    await by.keep(100, b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n")


async def pings(by: Attacker) -> None:
    await by.pour(by.upgrade(), EMPTY_PING * 10_000, per_s=MIB)


async def tiny_frames(by: Attacker) -> None:
    await by.pour(by.upgrade(), EMPTY_OBJECT * 10_000, per_s=MIB)


async def many_sockets(by: Attacker) -> None:
    await by.keep(100, by.upgrade())


async def bad_tokens(by: Attacker) -> None:
    request = b"GET /v1/trips HTTP/1.1\r\n" + HOST + b"Authorization: Bearer a.b.c\r\n\r\n"
    await by.pour(request, request, per_s=100 * len(request))


ATTACKS: tuple[Attack, ...] = (
    growing_header, dripped_header, many_headers, pipelined, bodies_without_token, login_bodies, chunks_of_one_byte,
    idle_connections, half_handshakes, unread_downloads, unread_pages, pings, tiny_frames, many_sockets, bad_tokens,
)  # fmt: skip


@contextlib.asynccontextmanager
async def under_attack(url: str, *attacks: Attack, token: str = "", link: str = "") -> AsyncIterator[None]:
    """Run attacks at once during the block, from 127.0.0.2 on; close their connections at its end."""
    attackers = [
        Attacker(url, f"127.0.0.{number}", token=token, link=link)
        for number, _ in zip(itertools.count(2), attacks, strict=False)
    ]
    tasks = [asyncio.create_task(_run(attack, by)) for attack, by in zip(attacks, attackers, strict=True)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        failed = [end for end in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(end, Exception)]
        for attacker in attackers:
            attacker.close()
    assert not failed, failed


async def _run(attack: Attack, by: Attacker) -> None:
    await attack(by)
