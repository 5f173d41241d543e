"""The server's side of HTTP over a Unix socket: the bytes that a client can make it hold, and the time."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from nomadcrew.hosts.machine.http import protocol
from nomadcrew.hosts.machine.http.connections import Connections
from nomadcrew.hosts.machine.http.exchange import Disconnected, Exchange
from nomadcrew.hosts.machine.http.protocol import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED
from nomadcrew.hosts.machine.sockets.endpoint import Receive, Scope, Send
from nomadcrew.hosts.machine.uvicorn_server import uvicorn_config
from nomadcrew.web.call import Reply

GET = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Echo:
    """Answers with the path; `/slow` waits, `/left` waits for the client to leave, `/large` is a megabyte, POST
    reads its body first."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.go_on = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> Reply:
        self.paths.append(exchange.path)
        body = exchange.path.encode()
        if exchange.path == "/slow":
            await self.go_on.wait()
        if exchange.path == "/left":
            with pytest.raises(Disconnected):
                await read(exchange)
            self.left.set()
            raise Disconnected
        if exchange.path == "/large":
            body = b"x" * (1 << 20)
        if exchange.path == "/broken":
            return Reply(200, b"", {"x-name": "a\r\nset-cookie: b"})
        if exchange.path == "/gone":
            return Reply(204)
        if exchange.method == "POST" and exchange.path != "/refused":
            body += b" " + await read(exchange)
        return Reply(200, body)


async def read(exchange: Exchange) -> bytes:
    body, complete = exchange.arrived()
    while not complete:
        await exchange.more()
        part, complete = exchange.arrived()
        body += part
    return body


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
    def __init__(self, app: Echo, connections: Connections, path: str, server: uvicorn.Server) -> None:
        self.app = app
        self._server = server
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

    def stop(self) -> None:
        self._server.should_exit = True

    def leave(self) -> None:
        for writer in self._clients:
            writer.close()


async def no_socket(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("no client upgrades")


@asynccontextmanager
async def served(*, total: int = 100, unread: int = 1 << 30) -> AsyncIterator[Served]:
    app, connections = Echo(), Connections(total=total, per_address=total, unread=unread)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        config = uvicorn_config(app, no_socket, connections, uds=path)
        server = uvicorn.Server(config)
        server.capture_signals = asynccontextmanager  # type: ignore[assignment,method-assign]
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        one = Served(app, connections, path, server)
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
        assert server.app.paths == []


async def test_a_head_within_the_limit_is_served() -> None:
    async with served() as server:
        large = b"a" * (MAX_HEAD_BYTES - 1000)
        said = await server.ask(
            b"GET /1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX: " + large, b"\r\nY: b\r\n\r\n"
        )
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
        await client.send(before + b"POST /left HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\nx")
        while len(server.app.paths) <= before.count(b"GET"):
            await asyncio.sleep(0.01)
        server.leave()
        await asyncio.wait_for(server.app.left.wait(), 5)


async def test_pipelined_requests_are_answered_in_order_up_to_the_limit() -> None:
    async with served() as server:
        client = await server.client()
        await client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n" + b"".join(GET % n for n in range(5_000)))
        await asyncio.sleep(0.05)
        assert len(server.app.paths) == 1
        server.app.go_on.set()
        said = await client.rest()
        assert said.count(b"HTTP/1.1 200 ") == len(server.app.paths) == MAX_PIPELINED + 1
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
        await kept[0].until(b"\r\n\r\n/1")


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
        POST + b"Content-Length: +5\r\n\r\nhello",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 0x5\r\n\r\nhello",
        POST + b"Content-Length: 5, 5\r\n\r\nhello",
        POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: identity\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: x\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        POST + b"X: a\r\n Transfer-Encoding: chunked\r\n\r\n",
        POST + b"X: a\nContent-Length: 5\r\n\r\nhello",
        POST + b"X: a\rContent-Length: 5\r\n\r\nhello",
        POST + b"X: a\0b\r\n\r\n",
        POST + b"X y: a\r\n\r\n",
        POST + b": a\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        POST + b"Host: other\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"GET /\r\n\r\n",
        b"GET / a HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /\x7f\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: h\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"G\xc3\x89T / HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
async def test_a_malformed_request_is_refused_and_nothing_behind_it_is_read(request_: bytes) -> None:
    async with served() as server:
        said = await server.ask(request_ + LAST)
        assert said.startswith(b"HTTP/1.1 400 "), said
        assert said.count(b"HTTP/1.1") == 1
        assert "/last" not in server.app.paths


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (POST + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\n\r\n", b"hello"),
        (POST + b"Transfer-Encoding: Chunked\r\n\r\n0\r\nx-trailer: a\r\n\r\n", b""),
        (b"\r\n" + POST + b"Content-Length: 0\r\n\r\n", b""),
        (b"POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na", b"a"),
        (POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_a_request_ends_where_it_says(request_: bytes, body: bytes, piece: int) -> None:
    async with served() as server:
        sent = request_ + LAST
        said = await server.ask(*[sent[at : at + piece] for at in range(0, len(sent), piece)])
        first, second = said.split(b"HTTP/1.1 200 ")[1:]
        assert first.endswith(b"\r\n\r\n/ " + body)
        assert second.endswith(b"\r\n\r\n/last")
        assert b"connection: close\r\n" in second


@pytest.mark.parametrize("head", [b"HTTP/1.0\r\n", b"HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"])
async def test_bytes_after_the_last_request_are_ignored(head: bytes) -> None:
    async with served() as server:
        client = await server.client()
        await client.send(b"GET /slow " + head + b"\r\n" + LAST + b"\x16\x03")
        await asyncio.sleep(0.05)
        server.app.go_on.set()
        said = await client.rest()
        assert said.endswith(b"connection: close\r\n\r\n/slow")
        assert server.app.paths == ["/slow"]


async def test_a_body_is_asked_for_when_it_is_wanted() -> None:
    async with served() as server:
        client = await server.client()
        await client.send(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hi")
        assert (await client.until(b"/ hi")).startswith(b"HTTP/1.1 200 ")
        await client.send(b"POST /refused HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await client.until(b"/refused")).startswith(b"HTTP/1.1 200 ")


async def test_a_queued_body_is_read_in_its_turn() -> None:
    async with served() as server:
        client = await server.client()
        await client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n" + POST + b"Content-Length: 5\r\n\r\nhe")
        await asyncio.sleep(0.05)
        await client.send(b"llo" + GET % 1)
        server.connections.sweep(asyncio.get_running_loop().time() + 10_000)
        server.app.go_on.set()
        assert (await client.until(b"\r\n\r\n/1")).count(b"HTTP/1.1 200 ") == 3
        assert server.app.paths == ["/slow", "/", "/1"]


async def test_a_reply_has_the_length_of_its_body_and_a_date() -> None:
    async with served() as server:
        client = await server.client()
        await client.send(
            b"HEAD /1 HTTP/1.1\r\nHost: h\r\n\r\n" + b"GET /gone HTTP/1.1\r\nHost: h\r\n\r\n" + GET % 2
        )
        headed, gone, got = [await client.until(b"\r\n\r\n") for _ in range(3)]
        assert (b"content-length: 2\r\n" in headed, b"content-length" in gone) == (True, False)
        assert gone.startswith(b"HTTP/1.1 204 No Content\r\n")
        assert b"content-length: 2\r\n" in got
        assert got.count(b"\r\ndate: ") == 1


async def test_a_header_that_would_be_two_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as server:
        said = await server.ask(b"GET /broken HTTP/1.1\r\nHost: h\r\n\r\n" + LAST)
        assert (said, server.app.paths) == (b"", ["/broken"])
    assert "a reply could not be sent" in caplog.text


@pytest.mark.parametrize(
    "head",
    [
        b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a:\r\n" * MAX_HEADERS + b"\r\n",
        b"\x16\x03\x01",
    ],
)
async def test_a_refused_head_behind_a_request_gets_no_reply_before_that_one(head: bytes) -> None:
    async with served() as server:
        client = await server.client()
        await client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n" + head + LAST)
        await asyncio.sleep(0.05)
        server.app.go_on.set()
        assert (await client.rest()).endswith(b"connection: close\r\n\r\n/slow")
        assert server.app.paths == ["/slow"]


async def test_an_idle_connection_is_closed_after_a_while_and_not_reset() -> None:
    async with served() as server:
        client = await server.client()
        await client.send(GET % 1)
        await client.until(b"\r\n\r\n/1")
        now_s = asyncio.get_running_loop().time()
        server.connections.sweep(now_s + protocol.KEEP_ALIVE_S - 1)
        assert len(server.connections) == 1
        server.connections.sweep(now_s + protocol.KEEP_ALIVE_S + 1)
        assert await client.rest() == b""


async def test_a_stopping_server_answers_what_was_asked_and_closes_the_rest() -> None:
    async with served() as server:
        busy, idle = await server.client(), await server.client()
        await busy.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n" + GET % 1)
        await idle.send(GET % 2)
        await idle.until(b"\r\n\r\n/2")
        server.stop()
        assert await idle.rest() == b""
        server.app.go_on.set()
        said = await busy.rest()
        assert said.count(b"HTTP/1.1 200 ") == 2
        assert said.endswith(b"connection: close\r\n\r\n/1")
