"""`/v1/ws`: the WebSocket endpoint of this host."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from urllib.parse import parse_qs

from nomadcrew.api.socket_frames import actions
from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import DomainError, Forbidden, NotFound, Unauthenticated
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.machine.http.asgi import Receive, Scope, Send, headers_of
from nomadcrew.hosts.machine.http.cors import Cors
from nomadcrew.hosts.machine.sockets.hub import Hub, Socket
from nomadcrew.hosts.machine.sockets.protocol import OUTLET, Outlet
from nomadcrew.web.call import Reply, request_id_of
from nomadcrew.web.problems import problem
from nomadcrew.web.sockets import CLOSE_BAD_JSON, CLOSE_UNAUTHENTICATED, NotJson, act, greeting, offered_token

PATH = "/v1/ws"
# Twenty frames a second is generous for a person; what comes on top is dropped, the socket stays.
FRAMES_PER_S = 20.0
CLOSE_TIMEOUT_S = 5.0
CLOSE_TRY_AGAIN = 1013


class SocketEndpoint:
    """Accepts sockets, puts them into the hub, and runs their actions."""

    def __init__(
        self,
        ports: Ports,
        hub: Hub,
        cors: Cors,
        *,
        on_count: Callable[[int], None],
        refusal: Callable[[Exception, str], Reply] = problem,
    ) -> None:
        """`refusal` makes the reply to an upgrade that is refused, of why and the request's id."""
        self._ports = ports
        self._hub = hub
        self._cors = cors
        self._on_count = on_count
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        headers = headers_of(scope)
        request_id = request_id_of(headers, "") or str(self._ports.new_id())
        try:
            token, claims, subprotocol = await self._admit(scope, headers)
        except DomainError as error:
            await _refuse(self._refusal(error, request_id), receive, send)
            return
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        await self._serve(token, claims, receive, scope["extensions"][OUTLET])

    async def _admit(self, scope: Scope, headers: dict[str, str]) -> tuple[str, Claims, str | None]:
        """The token, who connects with it, and the subprotocol to echo.

        Raises:
            DomainError: not here, not from there, or not with that token.
        """
        if scope["path"] != PATH:
            raise NotFound("route", code="route_not_found")
        if self._cors.check(headers.get("origin"), headers.get("host", "")) is None:
            raise Forbidden("This web page may not connect.", code="origin_not_allowed")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        offered = [part.strip() for part in headers.get("sec-websocket-protocol", "").split(",") if part.strip()]
        token, subprotocol = offered_token(offered, query.get("token", [None])[0])
        if not token:
            raise Unauthenticated("Connect with a token.", code="token_missing")
        return token, await self._ports.verifier.verify(token, now=self._ports.clock()), subprotocol

    async def _serve(self, token: str, claims: Claims, receive: Receive, outlet: Outlet) -> None:
        socket = Socket(
            str(self._ports.new_id()),
            claims.user_id,
            claims.session_id,
            claims.expires_at,
            outlet,
            now_s=time.monotonic(),
        )
        # In the hub before the greeting is looked up, so that no event falls in between; they wait for it.
        self._hub.add(socket)
        self._on_count(len(self._hub))
        try:
            # Once more, now that the end of its session would find the socket: it may have come just before.
            await self._ports.verifier.verify(token, now=self._ports.clock())
            socket.greet(await greeting(claims.user_id, self._ports), now_s=time.monotonic())
            await self._read(socket, receive)
        except Unauthenticated as error:
            socket.close(CLOSE_UNAUTHENTICATED, error.code)
        except DomainError:
            # The database is away: the client comes back, with growing pauses.
            socket.close(CLOSE_TRY_AGAIN, "try again later")
        finally:
            self._hub.remove(socket)
            self._on_count(len(self._hub))

    async def _read(self, socket: Socket, receive: Receive) -> None:
        """Answer frames until the client leaves or the socket is closed from here."""
        allowance, asked_s = FRAMES_PER_S, time.monotonic()
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect" or socket.closing:
                return
            now_s = time.monotonic()
            allowance = min(FRAMES_PER_S, allowance + (now_s - asked_s) * FRAMES_PER_S)
            asked_s = now_s
            if allowance < 1:
                continue
            allowance -= 1
            text = message.get("text") or message.get("bytes") or ""
            try:
                answer = await act(actions, socket.id, socket.user_id, text, self._ports)
            except NotJson:
                socket.close(CLOSE_BAD_JSON, "a frame was not JSON")
                return
            if answer is not None:
                socket.send(answer)


async def _refuse(reply: Reply, receive: Receive, send: Send) -> None:
    """Answer the upgrade with a plain HTTP refusal."""
    headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
    headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "websocket.http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": reply.body})
    # uvicorn logs an endpoint that returns while the connection is there as one that gave no answer, an ERROR. The
    # first message says that the answer is written, the second that the connection is gone.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await receive()
            await receive()
