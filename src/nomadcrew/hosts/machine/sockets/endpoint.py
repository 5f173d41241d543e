"""The WebSocket endpoint of the machine host, `/v1/ws`."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from nomadcrew.api.socket_frames import frames
from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import DomainError, Forbidden, NotFound, TooMany, Unauthenticated
from nomadcrew.core.ports import Ports
from nomadcrew.core.rate_limits import network_of
from nomadcrew.hosts.machine.http.client_address import TrustedProxies
from nomadcrew.hosts.machine.http.cors import Cors
from nomadcrew.hosts.machine.http.exchange import joined_headers
from nomadcrew.hosts.machine.sockets.hub import Hub, Socket
from nomadcrew.hosts.machine.sockets.protocol import OUTLET, Outlet
from nomadcrew.web.call import Reply, request_id_of
from nomadcrew.web.dispatch import limit_bad_tokens
from nomadcrew.web.problems import problem
from nomadcrew.web.sockets import (
    CLOSE_BAD_JSON,
    CLOSE_UNAUTHENTICATED,
    NotJson,
    greeting,
    handle_frame,
    offered_token,
    refused_frame,
)

# ASGI, by which uvicorn's WebSocket protocol calls the endpoint.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATH = "/v1/ws"
# Twenty frames per second are enough for a user. As many beyond that are refused with an answer, so that no message
# is lost in silence; further ones are dropped. The socket stays open.
FRAMES_PER_S = 20.0
CLOSE_TIMEOUT_S = 5.0
CLOSE_TRY_AGAIN = 1013
MAX_PER_ADDRESS = 500
RETRY_AFTER_S = 30


class SocketEndpoint:
    """Accepts sockets, adds them to the hub, and handles their frames."""

    def __init__(
        self,
        ports: Ports,
        hub: Hub,
        cors: Cors,
        *,
        on_count: Callable[[int], None],
        refusal: Callable[[Exception, str], Reply] = problem,
        proxies: TrustedProxies | None = None,
        per_address: int = MAX_PER_ADDRESS,
    ) -> None:
        """`refusal` makes the HTTP reply to a refused upgrade from the error and the request id.

        `per_address` is the maximum of sockets of one client address, also of those that come through a proxy.
        """
        self._proxies = proxies or TrustedProxies()
        self._per_address = per_address
        self._by_address: Counter[str] = Counter()
        self._ports = ports
        self._hub = hub
        self._cors = cors
        self._on_count = on_count
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        headers = joined_headers(scope["headers"])
        request_id = request_id_of(headers, "") or str(self._ports.new_id())
        client = scope.get("client")  # none on a Unix socket
        address = network_of(self._proxies.client(client[0] if client else "", headers))
        self._by_address[address] += 1
        try:
            token, claims, subprotocol = await self._admit(scope, headers, address)
            await send({"type": "websocket.accept", "subprotocol": subprotocol})
            await self._serve(token, claims, receive, scope["extensions"][OUTLET])
        except DomainError as error:
            await _refuse(self._refusal(error, request_id), receive, send)
        finally:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    async def _admit(self, scope: Scope, headers: dict[str, str], address: str) -> tuple[str, Claims, str | None]:
        """The token, its claims, and the subprotocol to echo.

        Raises:
            DomainError: wrong path, origin or token, or too many sockets of this address.
        """
        if self._by_address[address] > self._per_address:
            raise TooMany(RETRY_AFTER_S)
        if scope["path"] != PATH:
            raise NotFound("route", code="route_not_found")
        if self._cors.check(headers.get("origin"), headers.get("host", "")) is None:
            raise Forbidden("This origin may not connect.", code="origin_not_allowed")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        offered = [part.strip() for part in headers.get("sec-websocket-protocol", "").split(",") if part.strip()]
        token, subprotocol = offered_token(offered, query.get("token", [None])[0])
        try:
            return token or "", await self._verified(token), subprotocol
        except Unauthenticated as error:
            await limit_bad_tokens(error, address, self._ports.limits)
            raise

    async def _verified(self, token: str | None) -> Claims:
        if not token:
            raise Unauthenticated("Connect with a token.", code="token_missing")
        return await self._ports.verifier.verify(token, now=self._ports.clock())

    async def _serve(self, token: str, claims: Claims, receive: Receive, outlet: Outlet) -> None:
        socket = Socket(
            str(self._ports.new_id()),
            claims.user_id,
            claims.session_id,
            claims.expires_at,
            outlet,
            now_s=time.monotonic(),
        )
        # Added to the hub before the greeting is read, so that no event is missed; the socket holds events until
        # then.
        self._hub.add(socket)
        self._on_count(len(self._hub))
        try:
            # Verified again: the session may have ended just before the socket was in the hub.
            await self._ports.verifier.verify(token, now=self._ports.clock())
            socket.greet(await greeting(claims.user_id, self._ports), now_s=time.monotonic())
            await self._read(socket, receive)
        except Unauthenticated as error:
            socket.close(CLOSE_UNAUTHENTICATED, error.code)
        except DomainError:
            # The database is down: the client reconnects, with growing pauses.
            socket.close(CLOSE_TRY_AGAIN, "try again later")
        finally:
            self._hub.remove(socket)
            self._on_count(len(self._hub))

    async def _read(self, socket: Socket, receive: Receive) -> None:
        """Handle frames until the client disconnects or the server closes the socket."""
        handled, refused = _Allowance(), _Allowance()
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect" or socket.closing:
                return
            text = message.get("text") or message.get("bytes") or ""
            if not handled.take():
                if refused.take():
                    socket.send(refused_frame(text))
                continue
            try:
                answer = await handle_frame(frames, socket.id, socket.user_id, text, self._ports)
            except NotJson:
                socket.close(CLOSE_BAD_JSON, "a frame was not JSON")
                return
            if answer is not None:
                socket.send(answer)


class _Allowance:
    """`FRAMES_PER_S` frames per second, refilled continuously."""

    def __init__(self) -> None:
        self._left, self._asked_s = FRAMES_PER_S, time.monotonic()

    def take(self) -> bool:
        """True if a frame is left."""
        now_s = time.monotonic()
        self._left = min(FRAMES_PER_S, self._left + (now_s - self._asked_s) * FRAMES_PER_S)
        self._asked_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


async def _refuse(reply: Reply, receive: Receive, send: Send) -> None:
    """Refuse the upgrade with an HTTP reply."""
    headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
    headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "websocket.http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": reply.body})
    # uvicorn logs an ERROR if the endpoint returns while the connection is open. The first message says that the
    # reply is written, the second that the connection is closed.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await receive()
            await receive()
