"""HTTP and sockets of one process: uvicorn's configuration and its graceful stop."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import Callable, Generator

import uvicorn

from nomadcrew.hosts.machine.http.asgi import App
from nomadcrew.hosts.machine.sockets.drain import drain_sockets
from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.hosts.machine.sockets.protocol import WebSocketProtocol
from nomadcrew.web.sockets import MAX_FRAME_BYTES

DRAIN_S = 10.0


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

    def __init__(self, application: App, hub: Hub, listener: socket.socket, ready: Callable[[], None]) -> None:
        """`ready` is called once requests are accepted."""
        self._hub = hub
        self._server = _Server(_config(application), ready)
        _spare_the_collector()
        self.task = asyncio.create_task(self._server.serve([listener]), name="http")

    async def drain(self) -> None:
        """Accept no new requests, finish the open ones, and close sockets so that clients reconnect."""
        self._server.should_exit = True
        leaving = asyncio.create_task(drain_sockets(self._hub), name="leaving")
        await asyncio.wait({self.task}, timeout=DRAIN_S + 2)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)


def _config(application: App) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        loop="none",
        http="httptools",
        ws=WebSocketProtocol,
        ws_per_message_deflate=False,
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_interval=30,
        ws_ping_timeout=20,
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=120,
        timeout_graceful_shutdown=int(DRAIN_S),
    )


def _spare_the_collector() -> None:
    """Run the garbage collector a fiftieth as often, and exclude the objects that imports created.

    A list of trips is some hundred short-lived objects without cycles, and the default threshold of 700 walks the
    heap several times for it: a fifth of such a request's CPU, measured.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
