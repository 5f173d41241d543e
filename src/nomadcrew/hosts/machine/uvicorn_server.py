"""HTTP and sockets of one process: uvicorn's configuration and its graceful stop."""

import asyncio
import contextlib
import ctypes
import gc
import socket
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any

import uvicorn

from nomadcrew.hosts.machine.http.connections import Connections
from nomadcrew.hosts.machine.http.protocol import Answer, HttpProtocol
from nomadcrew.hosts.machine.services import RequestServer
from nomadcrew.hosts.machine.sockets.drain import drain_sockets
from nomadcrew.hosts.machine.sockets.endpoint import Receive, Scope, Send
from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.hosts.machine.sockets.protocol import WebSocketProtocol
from nomadcrew.web.sockets import MAX_FRAME_BYTES

Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]

DRAIN_S = 10.0
LARGE_BLOCK_BYTES = 64 * 1024  # half of what glibc begins with; a read of the socket is larger
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h


class _Server(uvicorn.Server):
    """uvicorn that reports when it listens, and handles no signals: the host controls the stop."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Serving:
    """Serves requests and sockets from its creation on; needs a running event loop."""

    def __init__(
        self,
        requests: RequestServer,
        hub: Hub,
        listener: socket.socket,
        ready: Callable[[], None],
    ) -> None:
        """`ready` is called once requests are accepted."""
        self._hub = hub
        config = uvicorn_config(requests.application.answer, requests.endpoint, requests.connections)
        self._server = _Server(config, ready)
        _spare_the_collector()
        _return_freed_memory()
        self.task = asyncio.create_task(self._server.serve([listener]), name="http")

    async def drain(self) -> None:
        """Accept no new requests, finish the open ones, and close sockets so that clients reconnect."""
        self._server.should_exit = True
        leaving = asyncio.create_task(drain_sockets(self._hub), name="leaving")
        await asyncio.wait({self.task}, timeout=DRAIN_S + 2)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)


def uvicorn_config(answer: Answer, endpoint: Endpoint, connections: Connections, **others: Any) -> uvicorn.Config:
    """uvicorn with our protocols and `others` of its settings. Only sockets reach ASGI: `endpoint`."""
    return uvicorn.Config(
        endpoint,
        loop="none",
        http=partial(HttpProtocol, answer, connections),  # type: ignore[arg-type]  # uvicorn calls it
        ws=partial(WebSocketProtocol, connections),  # type: ignore[arg-type]
        ws_per_message_deflate=False,
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_interval=30,
        ws_ping_timeout=20,
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(DRAIN_S),
        **others,
    )


def _spare_the_collector() -> None:
    """Run the garbage collector a fiftieth as often, and exclude the objects that imports created.

    A list of trips is some hundred short-lived objects without cycles, and the default threshold of 700 walks the
    heap several times for it: a fifth of such a request's CPU, measured.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def _return_freed_memory() -> None:
    """Let the allocator give large blocks back to the system once they are freed.

    By default glibc raises these thresholds when it sees large blocks; a burst of large bodies then stays resident.
    Other C libraries have no such call, and no such habit.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, LARGE_BLOCK_BYTES)
