"""The server's end of an HTTP/1.1 connection, on httptools' parser.

Requests are answered in order, one at a time. All that a client can make the server hold is limited, in bytes and
in time. uvicorn accepts the connections, and its protocol takes over those that become WebSockets.
"""

import asyncio
import contextlib
import logging
import math
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from functools import lru_cache
from typing import Any
from uuid import uuid4

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from nomadcrew.core.errors import DomainError, Invalid
from nomadcrew.hosts.machine.http.bodies import BODY_TIMEOUT_S, later_end
from nomadcrew.hosts.machine.http.connections import Connections, WriteDeadline
from nomadcrew.hosts.machine.http.downloads import FileReply
from nomadcrew.hosts.machine.http.exchange import WAITING_BYTES, Disconnected, Exchange, joined_headers
from nomadcrew.hosts.machine.http.replies import CONTINUE, head_of
from nomadcrew.web.call import Reply
from nomadcrew.web.dispatch import SECURITY_HEADERS
from nomadcrew.web.problems import HeadTooLarge, problem

# Of the request line and all headers together, and again of what chunked bodies have besides their bytes.
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 128
MAX_PIPELINED = 8
# From the first byte of a head to its end, and from the start of a connection.
HEAD_TIMEOUT_S = 10.0
# From a reply to the next request.
KEEP_ALIVE_S = 75.0
# The application answers a late body itself; this ends the connection if it does not read the body.
BODY_MARGIN_S = 5.0
# From a refusal to the close.
LINGER_S = 1.0
# The parser is fed in pieces, so that a limit is noticed soon.
PIECE_BYTES = 16 * 1024
# Bytes that the kernel holds for one client, otherwise megabytes.
KERNEL_BYTES = 256 * 1024
# Statuses whose replies have neither a body nor a length: RFC 9110, sections 8.6 and 15.4.5.
_WITHOUT_LENGTH = frozenset({204, 304})

log = logging.getLogger("nomadcrew.host")

# Answers a request; raises `Disconnected` only.
Answer = Callable[[Exchange], Awaitable[Reply]]


class Malformed(Invalid):
    code = "malformed_request"
    text = "The request is not valid HTTP."


class _Stop(Exception):
    """Raised in the parser's callbacks, to end parsing."""


class HttpProtocol(asyncio.Protocol):
    """One connection of a client."""

    def __init__(
        self,
        answer: Answer,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """uvicorn passes the last four; it calls `shutdown` of each of `server_state.connections` when it stops."""
        self._answer = answer
        self._connections = connections
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = self._new_parser()
        self._peer = ""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._reading: Exchange | None = None  # its body is being received
        self._exchanges: deque[Exchange] = deque()  # to answer, the first one now
        self._refusal: DomainError | None = None
        self._deaf = False  # ignores what else the client sends
        self._in_head = False
        self._in_body = False
        self._expects_continue = False
        self._is_websocket = False
        self._piece_bytes = 0  # of the piece that is being parsed
        self._fed_bytes = 0  # of earlier pieces of an incomplete head, or of a body with its framing
        self._body_bytes = 0
        self._read_until_s = math.inf
        self._reading_paused = False
        self._write_until = WriteDeadline()
        self._writable: asyncio.Future[None] | None = None  # set while the client does not take what is sent

    # Called by the event loop.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a stream's
        self._transport = transport
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # it calls `shutdown`
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        now_s = self._loop.time()
        if not self._connections.admit(self, self._peer, now_s):
            self._deaf = True
            transport.abort()
            return
        self._read_until_s = now_s + HEAD_TIMEOUT_S
        with contextlib.suppress(OSError):  # the client may be gone already
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 — the event loop passes it
        self._server_state.connections.discard(self)
        self._connections.leave(self)
        self._deaf = True
        for exchange in self._exchanges:
            exchange.disconnect()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()
        self._write_until.start(self._transport, self._loop.time())

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        self._write_until.stop()
        if writable is not None and not writable.done():
            writable.set_result(None)

    def data_received(self, data: bytes) -> None:
        if len(data) <= PIECE_BYTES:
            self._feed(data)
            return
        for piece in _pieces(data):
            if not self._feed(piece):
                return

    # Called by `Connections`, and `shutdown` by uvicorn.

    def ends_at_s(self, now_s: float) -> float:
        return min(self._read_until_s, self._write_until.check(self._transport, now_s))

    def unread_bytes(self) -> int:
        return self._write_until.unread_bytes(self._transport)

    def cut_off(self) -> None:
        if self._transport.get_write_buffer_size():
            self._transport.abort()  # a close would wait until the client has taken it
        else:
            self._transport.close()

    def shutdown(self) -> None:
        """Answer what was asked, then close."""
        if self._exchanges:
            self._exchanges[-1].keeps_alive = False
        else:
            self._transport.close()

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._in_head = True
        self._fed_bytes = self._body_bytes = 0
        if len(self._exchanges) > MAX_PIPELINED or not self._goes_on():
            raise _Stop

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        # Small heads, which are almost all, are not counted header by header. The piece in which a head began is
        # not among the fed ones.
        may_be_large = self._fed_bytes + self._piece_bytes + PIECE_BYTES > MAX_HEAD_BYTES
        if (may_be_large and self._head_bytes() > MAX_HEAD_BYTES) or len(self._headers) > MAX_HEADERS:
            self._refusal = HeadTooLarge()
            raise _Stop
        if self._parser.should_upgrade():
            self._is_websocket = (b"upgrade", b"websocket") in [
                (name, value.lower()) for name, value in self._headers
            ]
            # The replies to requests before it would be among a socket's frames.
            if (self._is_websocket and self._exchanges) or self._parser.get_method() == b"CONNECT":
                raise _Stop
            return
        exchange = self._exchange()
        self._in_head = False
        self._in_body = True
        self._fed_bytes = 0
        self._read_until_s = self._loop.time() + BODY_TIMEOUT_S + BODY_MARGIN_S
        self._begin(exchange)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._read_until_s != math.inf:
            ends_at_s = later_end(self._read_until_s - BODY_MARGIN_S, self._loop.time(), len(body))
            self._read_until_s = ends_at_s + BODY_MARGIN_S
        exchange = self._reading
        if exchange is None or exchange.answered:
            return  # of a request that was refused before its body was read
        exchange.feed(body)
        if exchange.waiting_bytes > WAITING_BYTES:
            self._pause_reading()

    def on_message_complete(self) -> None:
        self._in_body = False
        exchange, self._reading = self._reading, None
        if exchange is None:
            return
        self._read_until_s = math.inf
        exchange.end()
        if exchange.answered and not self._exchanges:
            self._await_client()

    # Reading.

    def _feed(self, piece: bytes) -> bool:
        """Parse a piece; False if nothing after it is parsed."""
        if self._deaf:
            return False
        in_head, in_body = self._in_head, self._in_body
        self._piece_bytes = len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            if self._is_websocket:
                self._hand_over()
                return False
            # Another protocol is not offered. The parser reads no body behind such a head, but this one does.
            head = self._head(without=b"upgrade")
            self._parser = self._new_parser()
            return self._feed(head + piece[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._refusal or Malformed())
            return False
        if (in_head and self._in_head) or (in_body and self._in_body):
            self._fed_bytes += len(piece)
            if self._fed_bytes - 2 * self._body_bytes > MAX_HEAD_BYTES or len(self._headers) > MAX_HEADERS:
                self._refuse(HeadTooLarge())
                return False
        if self._in_head and not in_head and not self._exchanges:
            self._read_until_s = self._loop.time() + HEAD_TIMEOUT_S
        return True

    def _exchange(self) -> Exchange:
        """The request whose head is complete.

        Raises:
            _Stop: it has no host header, or several.
            HttpParserError, UnicodeError: its target is not valid.
        """
        headers = joined_headers(self._headers)
        self._headers = []  # for trailers, which nothing reads
        self._expects_continue = headers.get("expect", "").lower() == "100-continue"
        is_http_1_0 = self._parser.get_http_version() == "1.0"
        if not is_http_1_0 and "," in headers.get("host", ","):
            raise _Stop  # none or several: RFC 9112, section 3.2
        url = httptools.parse_url(self._url)
        return Exchange(
            self._parser.get_method().decode("ascii"),
            url.path.decode("ascii"),
            "" if url.query is None else url.query.decode("latin-1"),
            headers,
            self._peer,
            keeps_alive=not is_http_1_0 and self._parser.should_keep_alive(),
            on_wait=self._want_body,
        )

    def _begin(self, exchange: Exchange) -> None:
        """Answer a request now, or after those that came before it."""
        self._reading = exchange
        self._exchanges.append(exchange)
        if len(self._exchanges) > 1:
            self._read_until_s = math.inf
            self._pause_reading()
            return
        self._task = self._loop.create_task(self._answer_all())
        self._server_state.tasks.add(self._task)

    def _goes_on(self) -> bool:
        """False if the newest request ends the connection."""
        return not self._exchanges or self._exchanges[-1].keeps_alive

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # Bytes after a request that ends the connection are ignored, not refused: its reply must arrive.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _head(self, *, without: bytes | None = None) -> bytes:
        """The head of the request that is being read, without one header."""
        lines = [self._parser.get_method(), b" ", self._url, b" HTTP/1.1\r\n"]
        for name, value in self._headers:
            if name != without:
                lines += [name, b": ", value, b"\r\n"]
        return b"".join([*lines, b"\r\n"])

    def _head_bytes(self) -> int:
        return len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    def _want_body(self) -> None:
        """The application waits for the body of the first exchange."""
        if self._expects_continue and not self._transport.is_closing():
            self._expects_continue = False
            self._transport.write(CONTINUE)
        self._await_client()

    def _await_client(self) -> None:
        """Read on, and expect of the client what it has begun."""
        self._resume_reading()
        now_s = self._loop.time()
        if self._in_head:
            self._read_until_s = now_s + HEAD_TIMEOUT_S
        elif self._reading is None:
            self._read_until_s = now_s + KEEP_ALIVE_S
        elif self._read_until_s == math.inf:
            self._read_until_s = now_s + BODY_TIMEOUT_S + BODY_MARGIN_S

    # Answering.

    async def _answer_all(self) -> None:
        try:
            while self._exchanges:
                exchange = self._exchanges[0]
                reply = await self._answer(exchange)
                exchange.answered = True
                await self._write_reply(exchange, reply)
                self._exchanges.popleft()
                if not exchange.keeps_alive:
                    self._deaf = True
                    self._transport.close()
                    return
            self._await_client()
        except Disconnected:
            pass
        except Exception:
            # The client has a part of the reply, or none: it must not take the next one for the rest.
            log.exception("a reply could not be sent")
            self._transport.abort()
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        finally:
            self._server_state.tasks.discard(self._task)

    async def _write_reply(self, exchange: Exchange, reply: Reply) -> None:
        if isinstance(reply, FileReply):
            await self._write_file(exchange, reply)
            return
        length = None if reply.status in _WITHOUT_LENGTH else len(reply.body)
        head = self._reply_head(exchange, reply, length)
        await self._write(exchange, head if exchange.method == "HEAD" else head + reply.body)

    async def _write_file(self, exchange: Exchange, reply: FileReply) -> None:
        with reply.file:
            await self._write(exchange, self._reply_head(exchange, reply, reply.size))
            if exchange.method != "HEAD":
                async for chunk in reply.chunks():
                    await self._write(exchange, chunk)

    async def _write(self, exchange: Exchange, data: bytes) -> None:
        """Write once the client has taken enough of what was sent before.

        Raises:
            Disconnected: the client is gone.
        """
        while self._writable is not None:
            await self._writable
        if exchange.is_disconnected or self._transport.is_closing():
            raise Disconnected
        self._transport.write(data)

    def _reply_head(self, exchange: Exchange, reply: Reply, length: int | None) -> bytes:
        if reply.headers.get("connection") == "close":
            exchange.keeps_alive = False
        closes = not exchange.keeps_alive
        return head_of(reply.status, reply.headers, date=self._date_line(), length=length, closes=closes)

    def _date_line(self) -> str:
        """uvicorn renews the date every second."""
        default = self._server_state.default_headers
        return _line(*default[0]) if default else ""

    def _refuse(self, error: DomainError) -> None:
        """Read nothing more, answer the requests before, and say why if no other reply is in the way."""
        self._deaf = True
        self._headers = []
        if self._exchanges and self._in_head:
            self._exchanges[-1].keeps_alive = False
            return
        if self._reading is not None:
            self._reading.disconnect()  # its body never will be complete
            if len(self._exchanges) != 1 or self._reading.answered:
                self._transport.close()
                return
        reply = problem(error, str(uuid4()))
        headers = {**SECURITY_HEADERS, **reply.headers}
        head = head_of(reply.status, headers, date=self._date_line(), length=len(reply.body), closes=True)
        self._transport.write(head + reply.body)
        # A close with unread bytes resets the connection, and the client would lose the reply.
        self._pause_reading()
        self._read_until_s = self._loop.time() + LINGER_S

    def _hand_over(self) -> None:
        """Pass the connection to the WebSocket protocol, which reads the head again."""
        self._deaf = True
        self._server_state.connections.discard(self)
        make: Any = self._config.ws_protocol_class
        protocol = make(config=self._config, server_state=self._server_state, app_state=self._app_state)
        protocol.connection_made(self._transport)
        protocol.data_received(self._head())
        self._transport.set_protocol(protocol)
        self._connections.replace(self, protocol)


@lru_cache(maxsize=1)
def _line(name: bytes, value: bytes) -> str:
    return f"{name.decode()}: {value.decode()}\r\n"


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
