"""The server's end of a WebSocket, without a queue or a task per socket.

A frame of the server is the same bytes for all clients, so it is encoded once and written to each transport; the
transport's buffer is the queue. uvicorn's protocol provides the upgrade, reading and pings.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

# The key of a socket's outlet in its ASGI scope's extensions.
OUTLET = "nomadcrew.outlet"
# Limits of unsent bytes per client: in this process, some hundred events; in the kernel, otherwise megabytes.
MAX_WAITING_BYTES = 256 * 1024
KERNEL_BYTES = 64 * 1024
# How long a client may take to close; a client that reads nothing is cut off then.
LEAVE_S = 10.0
_TEXT = 0x81  # final fragment, text


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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=MAX_WAITING_BYTES)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            # The application's task starts after this.
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[OUTLET] = self

    def pause_writing(self) -> None:
        super().pause_writing()
        self.on_slow()

    def shutdown(self) -> None:
        """Cut off handshakes when uvicorn stops; the host closes open sockets at its own pace."""
        if not self.handshake_complete:
            super().shutdown()

    def write(self, frame: bytes) -> None:
        if not (self.close_sent or self.disconnected):
            self.transport.write(frame)

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
