"""The same small reply by three HTTP servers, without a database: uvicorn, granian, and the host's own protocol.

`python -m bench.http_apps PORT` runs the last of them.
"""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
import uvloop

from nomadcrew.hosts.machine.http.bodies import BodyMemory, IncomingBody
from nomadcrew.hosts.machine.http.connections import Connections
from nomadcrew.hosts.machine.http.exchange import Exchange
from nomadcrew.hosts.machine.uvicorn_server import uvicorn_config
from nomadcrew.web.call import Reply

MAX_BODY_BYTES = 128 * 1024
BODY = b'{"text":"pack for the hills"}' * 10
HEADERS = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "x-xss-protection": "1; mode=block",
    "referrer-policy": "strict-origin-when-cross-origin",
    "cache-control": "no-store",
    "x-request-id": "019a0000-0000-7000-8000-000000000000",
    "x-ratelimit-limit": "100",
    "x-ratelimit-remaining": "99",
    "x-ratelimit-reset": "1764432060",
    "content-type": "application/json; charset=utf-8",
}

Message = dict[str, Any]


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """For uvicorn."""
    _ = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    while scope["method"] == "POST" and (await receive()).get("more_body", False):
        pass
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in HEADERS.items()]
    headers.append((b"content-length", b"%d" % len(BODY)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


class Rsgi:
    """For granian."""

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        _ = dict(scope.headers.items())
        if scope.method == "POST":
            await protocol()
        protocol.response_bytes(200, [*HEADERS.items(), ("content-length", str(len(BODY)))], BODY)


rsgi = Rsgi()


class Host:
    """For the host's protocol."""

    def __init__(self) -> None:
        self._memory = BodyMemory()

    async def __call__(self, exchange: Exchange) -> Reply:
        if exchange.method == "POST":
            body = IncomingBody(self._memory, exchange, MAX_BODY_BYTES)
            await body.read("ana")
            body.release()
        return Reply(200, BODY, HEADERS)


async def _no_socket(_scope: object, _receive: object, _send: object) -> None:
    raise AssertionError("the load has no sockets")


async def _serve(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    connections = Connections(total=1_000, per_address=1_000)
    sweeping = asyncio.create_task(connections.run())
    await uvicorn.Server(uvicorn_config(Host(), _no_socket, connections)).serve([listener])
    sweeping.cancel()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
