"""The ASGI application of the one-machine host.

The server must not rewrite the peer's address (uvicorn: `proxy_headers=False`): this application decides which
proxies it trusts.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from nomadcrew.adapters.machine.disk_files import FILES
from nomadcrew.core.errors import NotFound
from nomadcrew.core.rate_limits import network_of
from nomadcrew.hosts.machine.http.bodies import BodyMemory, IncomingBody
from nomadcrew.hosts.machine.http.client_address import TrustedProxies
from nomadcrew.hosts.machine.http.cors import Cors
from nomadcrew.hosts.machine.http.docs import Docs
from nomadcrew.hosts.machine.http.downloads import Downloads, FileReply
from nomadcrew.hosts.machine.http.health import Health
from nomadcrew.hosts.machine.http.metrics import MetricsPage
from nomadcrew.hosts.machine.http.router import Router
from nomadcrew.web.call import Reply, Request, parse_query, request_id_of
from nomadcrew.web.dispatch import Dispatcher, Observer
from nomadcrew.web.openapi import document
from nomadcrew.web.problems import JSON_TYPE, MethodNotAllowed
from nomadcrew.web.routes import Route, allowed

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Page = Callable[[str, Mapping[str, str]], Awaitable[Reply]]

METRICS = "/metrics"
CLOSED = "the handler is closed"
NO_ROUTE = "ANY unmatched"  # the route of unmatched requests in metrics and logs: clients choose the paths

log = logging.getLogger("nomadcrew.request")


class Disconnected(Exception):
    """The client disconnected before its body was complete, so there is no reply."""


class Application:
    """Answers HTTP requests; passes sockets to `websocket`."""

    def __init__(
        self,
        routes: Iterable[Route],
        dispatcher: Dispatcher,
        *,
        websocket: App,
        health: Health,
        metrics: MetricsPage,
        cors: Cors | None = None,
        proxies: TrustedProxies | None = None,
        observe: Observer | None = None,
        downloads: Downloads | None = None,
    ) -> None:
        """`observe` is called for requests that match no route; the dispatcher reports the others.

        Raises:
            ValueError: two routes conflict; see `Router`.
        """
        self._routes = tuple(routes)
        self._router = Router(self._routes)
        self._dispatcher = dispatcher
        self._websocket = websocket
        self._cors = cors or Cors()
        self._proxies = proxies or TrustedProxies()
        self._observe = observe
        self._downloads = downloads
        self._bodies = BodyMemory()
        self._openapi: bytes | None = None
        self._pages = self._table_of_pages(health, metrics, Docs(dispatcher.ports.site.public_url))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        elif kind == "lifespan":
            await _lifespan(receive, send)
        else:
            raise RuntimeError(f"unknown ASGI scope {kind!r}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = headers_of(scope)
            request_id = request_id_of(headers, "") or str(self._dispatcher.ports.new_id())
            reply = await self._reply(scope, receive, headers, request_id)
            await _respond(reply, send, with_body=scope["method"] != "HEAD")
        except Disconnected:
            log.debug("client disconnected before its body was complete")
        except RuntimeError as error:
            # uvloop's answer to a write between the loss of a connection and the protocol's notice of it.
            if CLOSED not in str(error):
                raise
            while (await receive())["type"] != "http.disconnect":
                pass

    async def _reply(self, scope: Scope, receive: Receive, headers: dict[str, str], request_id: str) -> Reply:
        if scope["method"] == "OPTIONS":
            return self._options(raw_path_of(scope), headers, request_id)
        permission = self._cors.check(headers.get("origin"), headers.get("host", ""))
        if permission is None:
            return self._dispatcher.with_default_headers(Reply(403), request_id)
        reply = await self._routed(scope, receive, headers, request_id)
        if permission and raw_path_of(scope) != METRICS:
            return msgspec.structs.replace(reply, headers={**reply.headers, **permission})
        return reply

    def _options(self, path: str, headers: dict[str, str], request_id: str) -> Reply:
        """The reply to OPTIONS: the methods of a path, and what a page of another origin may send."""
        reply = self._cors.preflight(headers)
        allow = self._allow(path)
        if allow is not None and reply.status == 204:
            reply = Reply(204, headers={**reply.headers, "allow": allow})
        elif allow is None and "origin" not in headers:
            return self._dispatcher.refusal(NotFound("route", code="route_not_found"), request_id)
        return self._dispatcher.with_default_headers(reply, request_id)

    def _allow(self, path: str) -> str | None:
        """The value of `Allow` at a path; None for an unknown path."""
        if path in self._pages or (self._downloads is not None and path.startswith(FILES)):
            return allowed(["GET"])
        methods = self._router.methods(path)
        return allowed(methods) if methods else None

    async def _routed(self, scope: Scope, receive: Receive, headers: dict[str, str], request_id: str) -> Reply:
        started_s = time.perf_counter()
        method, path = scope["method"], raw_path_of(scope)
        name, failure = NO_ROUTE, None
        try:
            match = self._router.match(method, path)
            if match is not None:
                route, params = match
                name = route.key
                return await self._handled(route, self._request(params, scope, headers, request_id), receive)
            reads = method in ("GET", "HEAD")
            if reads and path in self._pages:
                name = f"GET {path}"
                reply = await self._pages[path](peer_of(scope), headers)
            elif reads and self._downloads is not None and path.startswith(FILES):
                name = f"GET {FILES}{{token}}"  # the token is a credential, so it must not appear in metrics
                reply = await self._downloads.answer(
                    path, network_of(self._proxies.client(peer_of(scope), headers))
                )
            else:
                reply = self._redirect(method, path, scope)
            reply = self._dispatcher.with_default_headers(reply, request_id)
        except Disconnected:
            raise
        except Exception as error:
            failure = error
            reply = self._dispatcher.refusal(error, request_id)
        self._report(name, reply.status, time.perf_counter() - started_s, request_id, failure)
        failure = None  # as in the dispatcher, a cycle
        return reply

    async def _handled(self, route: Route, request: Request, receive: Receive) -> Reply:
        if not route.mutates:
            return await self._dispatcher.handle(route, request)
        body = IncomingBody(self._bodies, request.headers, receive, route.max_body_bytes)
        try:
            reply = await self._dispatcher.handle(route, request, body.read)
        finally:
            body.release()
        if body.disconnected:
            raise Disconnected
        if body.slow:
            # The rest of the body may never arrive, and the connection is unusable until it does.
            return Reply(reply.status, reply.body, {**reply.headers, "connection": "close"})
        return reply

    def _request(
        self, params: Mapping[str, str], scope: Scope, headers: dict[str, str], request_id: str
    ) -> Request:
        return Request(
            params=params,
            query=parse_query(scope["query_string"].decode("latin-1")),
            headers=headers,
            body=b"",
            client_ip=network_of(self._proxies.client(peer_of(scope), headers)),
            request_id=request_id,
        )

    def _redirect(self, method: str, path: str, scope: Scope) -> Reply:
        """A redirect to the path without its trailing slash.

        Raises:
            MethodNotAllowed: the path has a route for other methods.
            NotFound: that path has no route either.
        """
        reads = method in ("GET", "HEAD")
        target = self._router.without_slash(method, path)
        if target is None and reads and path.endswith("/") and path[:-1] in self._pages:
            target = path[:-1]
        if target is None:
            allow = self._allow(path)
            raise NotFound("route", code="route_not_found") if allow is None else MethodNotAllowed(allow)
        query = scope["query_string"].decode("latin-1")
        location = f"{target}?{query}" if query else target
        return Reply(301 if reads else 307, headers={"location": location})

    def _table_of_pages(self, health: Health, metrics: MetricsPage, docs: Docs) -> dict[str, Page]:
        """The pages that this host serves besides the routes, by path."""
        pages: dict[str, Page] = {
            "/health": _ignoring(health.health),
            "/health/liveness": _ignoring(health.liveness),
            "/health/readiness": _ignoring(health.readiness),
            METRICS: metrics.answer,
            "/openapi.json": _ignoring(self._openapi_json),
        }
        return pages | {path: _ignoring(partial(docs.answer, path)) for path in docs.paths}

    async def _openapi_json(self) -> Reply:
        if self._openapi is None:
            self._openapi = msgspec.json.encode(document(self._routes, site=self._dispatcher.ports.site))
        return Reply(200, self._openapi, {"content-type": JSON_TYPE, "cache-control": "no-cache"})

    def _report(self, name: str, status: int, seconds: float, request_id: str, failure: Exception | None) -> None:
        """Count and log a request that no route answered; successful pages are only counted."""
        if self._observe is not None:
            self._observe(name, status, seconds)
        if failure is None:
            return
        fields = {
            "request_id": request_id,
            "route": name,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
        }
        if status == 500:
            log.error("failed", extra={"fields": fields}, exc_info=failure)
        else:
            log.info("request", extra={"fields": fields})


def headers_of(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name, as ASGI sends them; repeated headers are joined as API Gateway joins them."""
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
    if len(headers) == len(pairs):
        return headers
    headers.clear()
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        separator = "; " if name == "cookie" else ","
        headers[name] = f"{headers[name]}{separator}{value}" if name in headers else value
    return headers


def raw_path_of(scope: Scope) -> str:
    """The path as sent, with percent-escapes; rebuilt from the decoded path if the server does not pass it."""
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"], safe="/:@!$&'()*+,;=~") if raw is None else raw.decode("latin-1")


async def _respond(reply: Reply, send: Send, *, with_body: bool) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    start = {"type": "http.response.start", "status": reply.status, "headers": headers}
    if isinstance(reply, FileReply):
        headers.append((b"content-length", b"%d" % reply.size))
        with reply.file:
            await send(start)
            if with_body:
                async for chunk in reply.chunks():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    if reply.status != 204:  # RFC 9110, section 8.6, forbids Content-Length for 204
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send(start)
    await send({"type": "http.response.body", "body": reply.body if with_body else b""})


async def _lifespan(receive: Receive, send: Send) -> None:
    """Acknowledge start and stop; the caller that starts the server does the actual work."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def peer_of(scope: Scope) -> str:
    """The peer's address; empty on a Unix socket."""
    client = scope.get("client")
    return client[0] if client else ""


def _ignoring(page: Callable[[], Awaitable[Reply]]) -> Page:
    """A page that ignores the request."""

    async def answer(_peer: str, _headers: Mapping[str, str]) -> Reply:
        return await page()

    return answer
