"""Answers the HTTP requests of the one-machine host: the routes, and the pages about the host itself."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from nomadcrew.adapters.machine.disk_files import FILES
from nomadcrew.api import examples
from nomadcrew.core.errors import DomainError, NotFound
from nomadcrew.core.files.model import MAX_FILE_BYTES
from nomadcrew.core.rate_limits import network_of
from nomadcrew.hosts.machine.http.bodies import DISK_BYTES, DISK_SHARE_BYTES, BodyMemory, IncomingBody
from nomadcrew.hosts.machine.http.client_address import TrustedProxies
from nomadcrew.hosts.machine.http.cors import Cors
from nomadcrew.hosts.machine.http.docs import Docs
from nomadcrew.hosts.machine.http.downloads import Downloads
from nomadcrew.hosts.machine.http.exchange import Disconnected, Exchange
from nomadcrew.hosts.machine.http.health import Health
from nomadcrew.hosts.machine.http.metrics import MetricsPage
from nomadcrew.hosts.machine.http.router import Router
from nomadcrew.web.call import Reply, Request, parse_query, request_id_of
from nomadcrew.web.dispatch import Dispatcher, Observer
from nomadcrew.web.openapi import document
from nomadcrew.web.problems import JSON_TYPE, MethodNotAllowed, problem
from nomadcrew.web.routes import Route, allowed

Page = Callable[[str, Mapping[str, str]], Awaitable[Reply]]

METRICS = "/metrics"
NO_ROUTE = "ANY unmatched"  # the route of unmatched requests in metrics and logs: clients choose the paths

log = logging.getLogger("nomadcrew.request")


class Application:
    """Answers HTTP requests."""

    def __init__(
        self,
        routes: Iterable[Route],
        dispatcher: Dispatcher,
        *,
        health: Health,
        metrics: MetricsPage,
        cors: Cors | None = None,
        proxies: TrustedProxies | None = None,
        observe: Observer | None = None,
        downloads: Downloads | None = None,
        folder: Path | None = None,
    ) -> None:
        """`observe` is called for requests that match no route; the dispatcher reports the others.

        Forms are written to temporary files in `folder`. Default: that of the system.

        Raises:
            ValueError: two routes conflict; see `Router`.
        """
        self._routes = tuple(routes)
        self._router = Router(self._routes)
        self._dispatcher = dispatcher
        self._cors = cors or Cors()
        self._proxies = proxies or TrustedProxies()
        self._observe = observe
        self._downloads = downloads
        self._bodies = BodyMemory()
        self._forms = BodyMemory(DISK_BYTES, DISK_SHARE_BYTES)
        self._folder = folder
        self._openapi: bytes | None = None
        self._pages = self._table_of_pages(health, metrics, Docs(dispatcher.ports.site.public_url))

    async def answer(self, exchange: Exchange) -> Reply:
        """The reply to a request.

        Raises:
            Disconnected: the client left before its body was complete.
        """
        request_id = request_id_of(exchange.headers, "") or str(self._dispatcher.ports.new_id())
        if exchange.method == "OPTIONS":
            return self._options(exchange.path, exchange.headers, request_id)
        permission = self._cors.check(exchange.headers.get("origin"), exchange.headers.get("host", ""))
        if permission is None:
            return self._dispatcher.with_default_headers(Reply(403), request_id)
        reply = await self._routed(exchange, request_id)
        if permission and exchange.path != METRICS:
            return msgspec.structs.replace(reply, headers={**reply.headers, **permission})
        return reply

    def _options(self, path: str, headers: Mapping[str, str], request_id: str) -> Reply:
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
        if path in self._pages:
            return allowed(["GET"])
        if self._downloads is not None and path.startswith(FILES):
            return allowed(["GET", "PUT"])
        methods = self._router.methods(path)
        return allowed(methods) if methods else None

    async def _routed(self, exchange: Exchange, request_id: str) -> Reply:
        started_s = time.perf_counter()
        name, failure = NO_ROUTE, None
        try:
            match = self._router.match(exchange.method, exchange.path)
            if match is not None:
                route, params = match
                name = route.key
                return await self._handled(route, params, exchange, request_id)
            page = self._page_of(exchange)
            if page is None:
                reply = self._redirect(exchange)
            else:
                name, answer = page
                reply = await answer
            reply = self._dispatcher.with_default_headers(reply, request_id)
        except Disconnected:
            raise
        except Exception as error:
            failure = error
            reply = self._dispatcher.refusal(error, request_id)
        self._report(name, reply.status, time.perf_counter() - started_s, request_id, failure)
        failure = None  # as in the dispatcher, a cycle
        return reply

    async def _handled(self, route: Route, params: Mapping[str, str], exchange: Exchange, request_id: str) -> Reply:
        request = Request(
            params=params,
            query=parse_query(exchange.query),
            headers=exchange.headers,
            body=b"",
            client_ip=self._client_network(exchange),
            request_id=request_id,
        )
        if not route.mutates:
            return await self._dispatcher.handle(route, request)
        body = self._body(exchange, route.max_body_bytes)
        try:
            reply = await self._dispatcher.handle(route, request, body)
        finally:
            body.release()
        return _after(body, reply)

    async def _received(self, downloads: Downloads, exchange: Exchange) -> Reply:
        """The reply to the upload of a file by its link."""
        body = self._body(exchange, MAX_FILE_BYTES)
        try:
            return await downloads.receive(exchange.path, self._client_network(exchange), body, exchange.headers)
        except DomainError as refused:
            return _after(body, problem(refused, request_id_of(exchange.headers, "")))
        finally:
            body.release()

    def _body(self, exchange: Exchange, max_bytes: int) -> IncomingBody:
        return IncomingBody(self._bodies, exchange, max_bytes, disk=self._forms, folder=self._folder)

    def _page_of(self, exchange: Exchange) -> tuple[str, Awaitable[Reply]] | None:
        """The name in metrics and the reply of a page or file of this host; None at other paths."""
        path = exchange.path
        if exchange.method == "PUT" and self._downloads is not None and path.startswith(FILES):
            return f"PUT {FILES}{{token}}", self._received(self._downloads, exchange)
        if exchange.method not in ("GET", "HEAD"):
            return None
        if path in self._pages:
            return f"GET {path}", self._pages[path](exchange.peer, exchange.headers)
        if self._downloads is not None and path.startswith(FILES):
            # The token is a credential, so it must not appear in metrics.
            return f"GET {FILES}{{token}}", self._downloads.answer(
                path, self._client_network(exchange), exchange.headers
            )
        return None

    def _client_network(self, exchange: Exchange) -> str:
        return network_of(self._proxies.client(exchange.peer, exchange.headers))

    def _redirect(self, exchange: Exchange) -> Reply:
        """A redirect to the path without its trailing slash.

        Raises:
            MethodNotAllowed: the path has a route for other methods.
            NotFound: that path has no route either.
        """
        path, reads = exchange.path, exchange.method in ("GET", "HEAD")
        target = self._router.without_slash(exchange.method, path)
        if target is None and reads and path.endswith("/") and path[:-1] in self._pages:
            target = path[:-1]
        if target is None:
            allow = self._allow(path)
            raise NotFound("route", code="route_not_found") if allow is None else MethodNotAllowed(allow)
        location = f"{target}?{exchange.query}" if exchange.query else target
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
            site = self._dispatcher.ports.site
            self._openapi = msgspec.json.encode(document(self._routes, site=site, examples=examples.load()))
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


def _after(body: IncomingBody, reply: Reply) -> Reply:
    """The reply to a request whose body was read, as far as it arrived.

    Raises:
        Disconnected: the client left before.
    """
    if body.disconnected:
        raise Disconnected
    if body.slow:
        # The rest of the body may never arrive, and the connection is unusable until it does.
        return Reply(reply.status, reply.body, {**reply.headers, "connection": "close"})
    return reply


def _ignoring(page: Callable[[], Awaitable[Reply]]) -> Page:
    """A page that ignores the request."""

    async def answer(_peer: str, _headers: Mapping[str, str]) -> Reply:
        return await page()

    return answer
