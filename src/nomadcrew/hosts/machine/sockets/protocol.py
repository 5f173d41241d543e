"""The server's end of a WebSocket, written to without a queue or a task of its own.

A frame from the server is the same bytes for everybody, so it is made once and handed to each transport as it is;
what a transport cannot send at once is the queue. Of uvicorn's protocol this uses the upgrade, reading and pings.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

# Where an ASGI scope holds the outlet of its socket.
OUTLET = "nomadcrew.outlet"
# What may wait for a reader here, some hundred events; and in the kernel, which would take megabytes for each.
MAX_WAITING_BYTES = 256 * 1024
KERNEL_BYTES = 64 * 1024
# How long a client that was told to leave may take; nobody waits for one that reads nothing.
LEAVE_S = 10.0
_TEXT = 0x81  # a whole message of text


class Outlet(Protocol):
    """Where the frames of one socket go. Everything returns at once."""

    on_slow: Callable[[], None]
    """Called when more waits than a reader may leave waiting."""

    def write(self, frame: bytes) -> None:
        """Send a frame as `text_frame` makes it; nothing, once the socket is closed."""
        ...

    def end(self, code: int, reason: str) -> None:
        """Close with a code, and cut off whoever does not answer that in time."""
        ...


def text_frame(text: str) -> bytes:
    """A text message as it goes over the line, unmasked and in one frame."""
    body = text.encode()
    length = len(body)
    if length < 126:
        return bytes((_TEXT, length)) + body
    if length < 65_536:
        return bytes((_TEXT, 126)) + length.to_bytes(2, "big") + body
    return bytes((_TEXT, 127)) + length.to_bytes(8, "big") + body


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, and the `Outlet` of its socket."""

    on_slow: Callable[[], None] = staticmethod(lambda: None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=MAX_WAITING_BYTES)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            # The application's task has not run yet.
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[OUTLET] = self

    def pause_writing(self) -> None:
        super().pause_writing()
        self.on_slow()

    def shutdown(self) -> None:
        """uvicorn stops, and would close every socket in the same moment: the host does that at its own pace."""
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
