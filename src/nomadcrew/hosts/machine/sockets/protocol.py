"""The server's end of a WebSocket, without a queue or a task per socket.

A frame of the server is the same bytes for all clients, so it is encoded once and written to each transport; the
transport's buffer is the queue. uvicorn's protocol provides the upgrade, reading and pings.
"""

import asyncio
import contextlib
import math
import socket
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame
from websockets.http11 import Request

from nomadcrew.hosts.machine.http.connections import Connections, WriteDeadline
from nomadcrew.web.sockets import CLOSE_FLOOD

# The key of a socket's outlet in its ASGI scope's extensions.
OUTLET = "nomadcrew.outlet"
# Limits of unsent bytes per client: in this process, some hundred events; in the kernel, otherwise megabytes.
MAX_WAITING_BYTES = 256 * 1024
KERNEL_BYTES = 64 * 1024
# How long a client may take to close; a client that reads nothing is cut off then.
LEAVE_S = 10.0
_TEXT = 0x81  # final fragment, text
_PING = bytes((0x89, 0))  # final fragment, ping, without a payload
# Frames of any kind from one client: some clients ping often, and send a burst when they are back online.
FRAMES_PER_S = 50.0
FRAMES_AT_ONCE = 200.0
MAX_FRAGMENTS = 64
# Frames are parsed in pieces of this size, so that a flood is noticed after some hundred of them.
PIECE_BYTES = 1024
HANDSHAKE_TIMEOUT_S = 20.0


class Outlet(Protocol):
    """The output of one socket. No method blocks."""

    on_slow: Callable[[], None]
    """Called when the unsent bytes exceed the limit."""

    def write(self, frame: bytes) -> None:
        """Send a frame made by `text_frame`; do nothing if the socket is closed."""
        ...

    def end(self, code: int, reason: str) -> None:
        """Close with a code, and cut off a client that does not close in time."""
        ...

    def ping(self) -> None:
        """Ask the device for an answer."""
        ...

    def heard_s(self) -> float:
        """When the last bytes came from the device, by the event loop's clock."""
        ...


def text_frame(text: str) -> bytes:
    """A text message as one unmasked frame."""
    body = text.encode()
    length = len(body)
    if length < 126:
        return bytes((_TEXT, length)) + body
    if length < 65_536:
        return bytes((_TEXT, 126)) + length.to_bytes(2, "big") + body
    return bytes((_TEXT, 127)) + length.to_bytes(8, "big") + body


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which is also the `Outlet` of its socket."""

    on_slow: Callable[[], None] = staticmethod(lambda: None)

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._connections = connections
        self._made_s = self._counted_s = self._heard_s = self.loop.time()
        self._allowance = FRAMES_AT_ONCE
        self._deaf = False
        self._write_until = WriteDeadline()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=MAX_WAITING_BYTES)
        with contextlib.suppress(OSError):  # the client may be gone already
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._connections.leave(self)

    def data_received(self, data: bytes) -> None:
        now_s = self._heard_s = self.loop.time()
        self._allowance = min(FRAMES_AT_ONCE, self._allowance + (now_s - self._counted_s) * FRAMES_PER_S)
        self._counted_s = now_s
        if not self.handshake_initiated:
            super().data_received(data)  # the head, whose size the HTTP protocol has limited
            return
        for start in range(0, len(data), PIECE_BYTES):
            if self._deaf:
                return
            super().data_received(data[start : start + PIECE_BYTES])
            if self._allowance < 0:
                self._cut_off_flood()

    def handle_ping(self) -> None:
        self._allowance -= 1
        super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        self._allowance -= 1
        super().handle_pong(event)

    def handle_text(self, event: Frame) -> None:
        self._allowance -= 1
        # The JSON decoder checks UTF-8; uvicorn logs a client's broken text as an error of the server.
        super().handle_bytes(event)

    def handle_bytes(self, event: Frame) -> None:
        self._allowance -= 1
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        self._allowance -= 1 if len(self.frames) < MAX_FRAGMENTS else math.inf
        super().handle_cont(event)

    def ends_at_s(self, now_s: float) -> float:
        if not self.handshake_complete:
            return self._made_s + HANDSHAKE_TIMEOUT_S
        return self._write_until.check(self.transport, now_s)

    def unread_bytes(self) -> int:
        return self._write_until.unread_bytes(self.transport)

    def cut_off(self) -> None:
        self.transport.abort()

    def _cut_off_flood(self) -> None:
        self._deaf = True
        if self.handshake_complete:
            self.end(CLOSE_FLOOD, "too many frames")
        self.transport.close()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            # The application's task starts after this.
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[OUTLET] = self

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_until.start(self.transport, self.loop.time())
        self.on_slow()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._write_until.stop()

    def shutdown(self) -> None:
        """Cut off handshakes when uvicorn stops; the host closes open sockets at its own pace."""
        if not self.handshake_complete:
            super().shutdown()

    def write(self, frame: bytes) -> None:
        if not (self.close_sent or self.disconnected):
            self.transport.write(frame)

    def ping(self) -> None:
        if not (self.close_sent or self.disconnected or self.transport.is_closing()):
            self.transport.write(_PING)

    def heard_s(self) -> float:
        return self._heard_s

    def end(self, code: int, reason: str) -> None:
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        self.stop_keepalive()
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(LEAVE_S, self.transport.abort)
