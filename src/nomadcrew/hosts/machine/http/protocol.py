"""The server's end of an HTTP connection: uvicorn's protocol, with limits of what a client can make it hold.

uvicorn limits neither heads nor pipelined requests, and ends a connection only when a reply was complete.
"""

import asyncio
import contextlib
import math
import socket
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from nomadcrew.core.errors import DomainError, Invalid
from nomadcrew.hosts.machine.http.bodies import BODY_TIMEOUT_S, SLOWEST_BYTES_PER_S
from nomadcrew.hosts.machine.http.connections import Connections, WriteDeadline
from nomadcrew.web.dispatch import SECURITY_HEADERS
from nomadcrew.web.problems import HeadTooLarge, problem

# Of the request line and all headers together, and again of what chunked bodies have besides their bytes.
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 128
MAX_PIPELINED = 8
# From the first byte of a head to its end, and from the start of a connection.
HEAD_TIMEOUT_S = 20.0
# The application answers a late body itself; this ends the connection if it does not read the body.
BODY_MARGIN_S = 5.0
# From a refusal to the close.
LINGER_S = 1.0
# The parser is fed in pieces, so that a limit is noticed soon.
PIECE_BYTES = 16 * 1024
# Bytes that the kernel holds for one client, otherwise megabytes.
KERNEL_BYTES = 256 * 1024


class Malformed(Invalid):
    code = "malformed_request"
    text = "The request is not valid HTTP."


class _Stop(Exception):
    """Raised in the parser's callbacks, to end parsing."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, within limits of bytes and time."""

    def __init__(
        self,
        connections_by_address: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._admitted = connections_by_address
        self._refusal: DomainError | None = None
        self._deaf = False  # ignores what else the client sends
        self._in_head = False
        self._in_body = False
        self._piece_bytes = 0  # of the piece that is being parsed
        self._fed_bytes = 0  # of earlier pieces of an incomplete head, or of a body with its framing
        self._body_bytes = 0
        self._read_until_s = math.inf
        self._write_until = WriteDeadline()
        self._answered: RequestResponseCycle | None = None  # the request that is being answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        now_s = self.loop.time()
        if not self._admitted.admit(self, self.client[0] if self.client else "", now_s):
            self._deaf = True
            transport.abort()
            return
        self._read_until_s = now_s + HEAD_TIMEOUT_S
        with contextlib.suppress(OSError):  # the client may be gone already
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._admitted.leave(self)
        if self._answered is not None and not self._answered.response_complete:
            # uvicorn tells the newest request only. Another one would wait for its client until the server stops.
            self._answered.disconnected = True
            self._answered.message_event.set()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_until.start(self.transport, self.loop.time())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._write_until.stop()

    def ends_at_s(self, now_s: float) -> float:
        return min(self._read_until_s, self._write_until.check(self.transport, now_s))

    def unread_bytes(self) -> int:
        return self._write_until.unread_bytes(self.transport)

    def cut_off(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if len(data) <= PIECE_BYTES:
            self._feed(data)
            return
        for piece in _pieces(data):
            if not self._feed(piece):
                return

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        self._deaf = True
        self._admitted.replace(self, self.transport.get_protocol())  # type: ignore[arg-type]  # a `Connection`

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._fed_bytes = self._body_bytes = 0
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _Stop

    def on_headers_complete(self) -> None:
        # Small heads, which are almost all, are not counted header by header. The piece in which a head began is
        # not among the fed ones.
        may_be_large = self._fed_bytes + self._piece_bytes + PIECE_BYTES > MAX_HEAD_BYTES
        if (may_be_large and self._head_bytes() > MAX_HEAD_BYTES) or len(self.headers) > MAX_HEADERS:
            self._stop(HeadTooLarge())
        self._in_head = False
        self._in_body = True
        self._fed_bytes = 0
        self._read_until_s = self.loop.time() + BODY_TIMEOUT_S + BODY_MARGIN_S
        super().on_headers_complete()
        if not self.pipeline:
            self._answered = self.cycle
        if not self.parser.should_upgrade():
            self.headers = []  # for trailers, which nothing reads

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._read_until_s += len(body) / SLOWEST_BYTES_PER_S
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._read_until_s = math.inf
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._answered = self.pipeline[-1][0]
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.body:
            self.cycle.body = bytearray()  # of a request that was refused before its body was read

    def send_400_response(self, msg: str) -> None:
        raise NotImplementedError("_feed handles errors of the parser")

    def _feed(self, piece: bytes) -> bool:
        """Parse a piece; False if nothing after it is parsed."""
        if self._deaf:
            return False
        self._unset_keepalive_if_required()
        in_head, in_body = self._in_head, self._in_body
        self._piece_bytes = len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return False
            self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            self._refuse(self._refusal or Malformed())
            return False
        if (in_head and self._in_head) or (in_body and self._in_body):
            self._fed_bytes += len(piece)
            if self._fed_bytes - 2 * self._body_bytes > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
                self._refuse(HeadTooLarge())
                return False
        if self._read_until_s == math.inf and (self.cycle is None or self.cycle.response_complete):
            self._read_until_s = self.loop.time() + HEAD_TIMEOUT_S
        return True

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _stop(self, refusal: DomainError) -> None:
        self._refusal = refusal
        raise _Stop

    def _refuse(self, error: DomainError) -> None:
        """Read nothing more, answer the requests before, and say why if no other reply is in the way."""
        self._deaf = True
        if self.headers:
            self.headers.clear()  # not passed on: those of an unfinished head, or trailers
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._in_head:
                cycle.keep_alive = False
                return
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
        reply = problem(error, str(uuid4()))
        head = [STATUS_LINE[reply.status]]
        for name, value in {**SECURITY_HEADERS, **reply.headers, "connection": "close"}.items():
            head += [name.encode(), b": ", value.encode(), b"\r\n"]
        head.append(b"content-length: %d\r\n\r\n" % len(reply.body))
        self.transport.write(b"".join([*head, reply.body]))
        # A close with unread bytes resets the connection, and the client would lose the reply.
        self.flow.pause_reading()
        self._read_until_s = self.loop.time() + LINGER_S


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
