"""The server's side of HTTP over a Unix socket: the bytes that a client can make it hold, and the time."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import uvicorn

from nomadcrew.hosts.machine.http import protocol
from nomadcrew.hosts.machine.http.asgi import Receive, Scope, Send
from nomadcrew.hosts.machine.http.connections import Connections
from nomadcrew.hosts.machine.http.protocol import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED, HttpProtocol

GET = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"


class Echo:
    """Answers with the path; `/slow` waits, `/left` waits for the client to leave, `/large` is a megabyte, POST
    reads its body first."""

    def __init__(self) -> None:
        self.started = 0
        self.go_on = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started += 1
        body = scope["path"].encode()
        if scope["path"] == "/slow":
            await self.go_on.wait()
        if scope["path"] == "/left":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
            return
        if scope["path"] == "/large":
            body = b"x" * (1 << 20)
        if scope["method"] == "POST" and scope["path"] != "/refused":
            while (await receive()).get("more_body"):
                pass
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
            try:
                await asyncio.wait_for(self._writer.drain(), 0.1)
            except TimeoutError:
                return  # the server reads no more
            await asyncio.sleep(0)

    async def rest(self) -> bytes:
        """The bytes that the server sends until it closes."""
        async with asyncio.timeout(10):
            read = b""
            try:
                while part := await self._reader.read(1 << 16):
                    read += part
            except ConnectionResetError:
                pass
            return read

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.readuntil(end)


class Served:
    def __init__(self, app: Echo, connections: Connections, path: str) -> None:
        self.app = app
        self.connections = connections
        self._path = path
        self._clients: list[asyncio.StreamWriter] = []

    async def client(self) -> Client:
        reader, writer = await asyncio.open_unix_connection(self._path)
        self._clients.append(writer)
        return Client(reader, writer)

    async def ask(self, *parts: bytes) -> bytes:
        client = await self.client()
        await client.send(*parts)
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, lambda: self.connections.sweep(loop.time() + protocol.LINGER_S))
        return await client.rest()

    def leave(self) -> None:
        for writer in self._clients:
            writer.close()


@asynccontextmanager
async def served(*, total: int = 100, unread: int = 1 << 30) -> AsyncIterator[Served]:
    app, connections = Echo(), Connections(total=total, per_address=total, unread=unread)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        config = uvicorn.Config(
            app,
            uds=path,
            http=partial(HttpProtocol, connections),  # type: ignore[arg-type]  # uvicorn calls it
            lifespan="off",
            log_config=None,
        )
        server = uvicorn.Server(config)
        server.capture_signals = asynccontextmanager  # type: ignore[assignment,method-assign]
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        one = Served(app, connections, path)
        try:
            yield one
        finally:
            one.leave()
            app.go_on.set()
            server.should_exit = True
            await asyncio.wait_for(serving, 20)
        assert len(connections) == 0


@pytest.mark.parametrize(
    "head",
    [
        [b"GET / HTTP/1.1\r\nX: ", *[b"a" * 4096] * 30],
        [b"GET /", *[b"a" * 4096] * 30],
        [b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"],
        [b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"],
        [b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (MAX_HEADERS + 1) + b"\r\n"],
    ],
    ids=["growing value", "growing address", "one value", "one address", "many headers"],
)
async def test_a_large_head_is_refused(head: list[bytes]) -> None:
    async with served() as server:
        said = await server.ask(*head)
        assert said.startswith(b"HTTP/1.1 431 ")
        assert b'"code":"headers_too_large"' in said
        assert server.app.started == 0


async def test_a_head_within_the_limit_is_served() -> None:
    async with served() as server:
        large = b"a" * (MAX_HEAD_BYTES - 1000)
        said = await server.ask(b"GET /1 HTTP/1.1\r\nConnection: close\r\nX: " + large, b"\r\nY: b\r\n\r\n")
        assert said.endswith(b"\r\n\r\n/1")


async def test_other_protocols_are_refused_in_the_usual_form() -> None:
    async with served() as server:
        said = await server.ask(b"\x16\x03\x01 hello\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 400 ")
        assert b"x-content-type-options: nosniff" in said
        assert b'"code":"malformed_request"' in said


@pytest.mark.parametrize("before", [b"", GET % 1, GET % 1 + GET % 2])
async def test_a_request_with_others_behind_it_ends_when_its_client_leaves(before: bytes) -> None:
    async with served() as server:
        client = await server.client()
        await client.send(before + b"GET /left HTTP/1.1\r\nHost: h\r\n\r\n" + GET % 3 + GET % 4)
        while server.app.started <= before.count(b"GET"):
            await asyncio.sleep(0.01)
        server.leave()
        await asyncio.wait_for(server.app.left.wait(), 5)


async def test_pipelined_requests_are_answered_in_order_up_to_the_limit() -> None:
    async with served() as server:
        client = await server.client()
        await client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n" + b"".join(GET % n for n in range(5_000)))
        await asyncio.sleep(0.05)
        assert server.app.started == 1
        server.app.go_on.set()
        said = await client.rest()
        assert said.count(b"HTTP/1.1 200 ") == server.app.started == MAX_PIPELINED + 1
        assert said.index(b"/slow") < said.index(b"\r\n\r\n/0") < said.index(b"\r\n\r\n/7")


async def test_requests_one_after_another_are_not_limited() -> None:
    async with served() as server:
        client = await server.client()
        for number in range(3 * MAX_PIPELINED):
            await client.send(GET % number)
            assert (await client.until(b"\r\n\r\n/%d" % number)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("framing", [b"1\r\nx\r\n", b"1;" + b"e" * 500 + b"\r\nx\r\n"], ids=["tiny", "extensions"])
async def test_a_body_that_is_mostly_framing_is_refused(framing: bytes) -> None:
    async with served() as server:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await server.ask(head, *[framing * 100] * 500)).startswith(b"HTTP/1.1 431 ")


async def test_trailers_are_not_kept() -> None:
    async with served() as server:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        said = await server.ask(head, *[b"a: %b\r\n" % (b"x" * 1000)] * 200)
        assert said.startswith(b"HTTP/1.1 431 ")


async def test_a_refused_body_is_drained_and_the_connection_goes_on() -> None:
    async with served() as server:
        client = await server.client()
        await client.send(b"POST /refused HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 300_000)
        await client.until(b"/refused")
        await client.send(b"x" * 700_000, GET % 1)
        assert (await client.until(b"\r\n\r\n/1")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [b"GET / HTTP/1.1\r\nX: a"],
        [GET % 1, b"\r\n"],
        [b"POST /refused HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx"],
        [b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n"],
    ],
    ids=["nothing", "half a head", "a lone line end", "half a body", "an unread reply"],
)
async def test_a_client_that_is_late_is_cut_off(sent: list[bytes]) -> None:
    async with served() as server:
        client = await server.client()
        for part in sent:
            await client.send(part)
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)
        now_s = asyncio.get_running_loop().time()
        server.connections.sweep(now_s + protocol.HEAD_TIMEOUT_S - 1)
        await asyncio.sleep(0.01)
        assert len(server.connections) == 1
        server.connections.sweep(now_s + 1_000)
        await asyncio.sleep(0.05)
        assert len(server.connections) == 0
        await client.rest()


async def test_a_client_that_waits_for_its_reply_is_not_late() -> None:
    async with served() as server:
        client = await server.client()
        await client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await asyncio.sleep(0.05)
        server.connections.sweep(asyncio.get_running_loop().time() + 10_000)
        server.app.go_on.set()
        await client.until(b"/slow")


async def test_too_many_unread_bytes_end_those_that_wait_longest() -> None:
    async with served(unread=600_000) as server:
        clients = [await server.client() for _ in range(2)]
        for client in clients:
            await client.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
            await asyncio.sleep(0.1)
        server.connections.sweep(asyncio.get_running_loop().time())
        await asyncio.sleep(0.05)
        assert len(server.connections) == 1
        assert len(await clients[0].rest()) < 1 << 20
        await clients[1].until(b"x" * (1 << 19))


async def test_beyond_the_limit_new_connections_are_closed() -> None:
    async with served(total=4) as server:
        kept = [await server.client() for _ in range(4)]
        await asyncio.sleep(0.05)
        assert await (await server.client()).rest() == b""
        await kept[0].send(GET % 1)
        await kept[0].until(b"/1")
