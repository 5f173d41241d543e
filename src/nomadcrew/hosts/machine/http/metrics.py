"""The host's metrics, and access to them."""

import asyncio
import hmac
import platform
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from nomadcrew import __version__
from nomadcrew.core.errors import Forbidden, Unavailable
from nomadcrew.core.queues import QueueDepth
from nomadcrew.hosts.machine.http.client_address import is_direct_loopback, names_loopback
from nomadcrew.web.call import Reply

DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REFRESH_TIMEOUT_S = 2.0


class Metrics:
    """Counters in a private registry, so that two hosts in one process, as in tests, count separately."""

    def __init__(self, version: str = __version__) -> None:
        self._registry = registry = CollectorRegistry()
        self._started_s = time.monotonic()
        self._by_route: dict[tuple[str, int], Counter] = {}
        self._durations: dict[str, Histogram] = {}
        self._by_statement: dict[str, Counter] = {}
        self._known_queues: set[str] = set()
        self._requests = Counter(
            "nomadcrew_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self._request_seconds = Histogram(
            "nomadcrew_request_seconds",
            "Time from a request's last byte to its reply.",
            ("method", "route"),
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self._statements = Counter("nomadcrew_statements", "SQL statements run.", ("name",), registry=registry)
        self._sockets = Gauge("nomadcrew_sockets", "Open WebSockets.", registry=registry)
        self._published = Counter("nomadcrew_events_published", "Events relayed.", registry=registry)
        self._delivered = Counter("nomadcrew_events_delivered", "Events written to sockets.", registry=registry)
        self._outbox_pending = Gauge("nomadcrew_outbox_pending", "Events not yet relayed.", registry=registry)
        self._outbox_lag = Gauge(
            "nomadcrew_outbox_lag_seconds", "Age of the oldest event not yet relayed.", registry=registry
        )
        self._queue_jobs = Gauge(
            "nomadcrew_queue_jobs", "Jobs waiting, in flight and dead.", ("queue", "state"), registry=registry
        )
        self._queue_oldest = Gauge(
            "nomadcrew_queue_oldest_seconds", "Age of the oldest waiting job.", ("queue",), registry=registry
        )
        uptime = Gauge("nomadcrew_uptime_seconds", "Seconds since the host started.", registry=registry)
        uptime.set_function(lambda: time.monotonic() - self._started_s)
        build = Gauge("nomadcrew_build_info", "Always 1.", ("version", "python"), registry=registry)
        build.labels(version, platform.python_version()).set(1)

    def request(self, route_key: str, status: int, seconds: float) -> None:
        """Count one reply. `route_key` is a route's key, not a path: paths would create a series per trip."""
        # Cached, because `labels` takes four times as long as counting.
        counter = self._by_route.get((route_key, status))
        if counter is None:
            counter = self._count_route(route_key, status)
        counter.inc()
        self._durations[route_key].observe(seconds)

    def statement(self, name: str) -> None:
        counter = self._by_statement.get(name)
        if counter is None:
            counter = self._by_statement[name] = self._statements.labels(name)
        counter.inc()

    def sockets(self, open_now: int) -> None:
        self._sockets.set(open_now)

    def published(self, count: int = 1) -> None:
        self._published.inc(count)

    def delivered(self, count: int = 1) -> None:
        """Add deliveries; one event to one socket counts once."""
        self._delivered.inc(count)

    def outbox(self, pending: int, lag_s: float) -> None:
        self._outbox_pending.set(pending)
        self._outbox_lag.set(lag_s)

    def queues(self, depths: Sequence[QueueDepth]) -> None:
        """Set the depth of every queue with jobs; queues that are not named are empty."""
        named = {depth.queue for depth in depths}
        empty = [QueueDepth(queue, 0, 0, 0, 0.0) for queue in self._known_queues - named]
        self._known_queues |= named
        for depth in (*depths, *empty):
            self._queue_jobs.labels(depth.queue, "waiting").set(depth.waiting)
            self._queue_jobs.labels(depth.queue, "in_flight").set(depth.in_flight)
            self._queue_jobs.labels(depth.queue, "dead").set(depth.dead)
            self._queue_oldest.labels(depth.queue).set(depth.oldest_s)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _count_route(self, route_key: str, status: int) -> Counter:
        method, _, route = route_key.partition(" ")
        counter = self._by_route[route_key, status] = self._requests.labels(method, route, str(status))
        if route_key not in self._durations:
            self._durations[route_key] = self._request_seconds.labels(method, route)
        return counter


class MetricsPage:
    """`GET /metrics`: for requests from this machine, or with the metrics token."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        token: str | None = None,
        refresh: Callable[[], Awaitable[None]] | None = None,
        render: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        """`refresh` updates the gauges of outbox and queues; it may raise `Unavailable`.

        `render` replaces the page of `metrics` if there are several processes.
        """
        self._metrics = metrics
        self._token = token.encode() if token else None
        self._refresh = refresh
        self._render = render

    async def answer(self, peer: str, headers: Mapping[str, str]) -> Reply:
        """The current metrics; gauges that cannot be updated in time keep their last value.

        Raises:
            Forbidden: the request is not from this machine and lacks the token.
        """
        local = is_direct_loopback(peer, headers) and names_loopback(headers.get("host", ""))
        if not local and not self._holds_token(headers):
            raise Forbidden(
                "Metrics require the metrics token, or a request from this machine.", code="metrics_private"
            )
        if self._refresh is not None:
            # The other metrics matter most when the database is down.
            with suppress(TimeoutError, Unavailable):
                await asyncio.wait_for(self._refresh(), REFRESH_TIMEOUT_S)
        page = self._metrics.render() if self._render is None else await self._render()
        return Reply(200, page, {"content-type": CONTENT_TYPE_PLAIN_0_0_4})

    def _holds_token(self, headers: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if self._token is None or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), self._token)
