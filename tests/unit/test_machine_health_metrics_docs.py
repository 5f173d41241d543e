"""Routes of the machine host beside the table: health, metrics, documentation."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from nomadcrew import __version__
from nomadcrew.adapters.machine.disk import try_to_write
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ports import Site
from nomadcrew.core.queues import QueueDepth
from nomadcrew.hosts.machine.http import health as health_module
from nomadcrew.hosts.machine.http.application import Application
from nomadcrew.hosts.machine.http.docs import Docs
from nomadcrew.hosts.machine.http.health import Health, Heartbeat, duration_text
from nomadcrew.hosts.machine.http.metrics import Metrics, MetricsPage
from nomadcrew.web.call import Call
from nomadcrew.web.dispatch import Dispatcher
from nomadcrew.web.routes import Routes
from tests.fakes import SetClock, fake_ports
from tests.unit.http_host import Client

routes = Routes("test")


@routes.get("/v1/notes")
async def list_notes(call: Call) -> list[str]:
    """List notes."""
    return []


async def works() -> None: ...


def client(
    ping: Callable[[], Awaitable[object]] = works,
    *,
    heartbeats: dict[str, Heartbeat] | None = None,
    silences: Callable[[], Awaitable[dict[str, float]]] | None = None,
    storage: Callable[[], object] | None = None,
    metrics: MetricsPage | None = None,
    peer: str = "203.0.113.9",
    public_url: str = "http://testserver",
) -> Client:
    ports = fake_ports(site=Site(public_url))
    app = Application(
        routes,
        Dispatcher(ports),
        health=Health(ping, clock=SetClock(), heartbeats=heartbeats, silences=silences, try_to_write=storage),
        metrics=metrics or MetricsPage(Metrics()),
    )
    return Client(app, peer=peer)


class Database:
    """A fake database that counts pings."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.requester = 0

    async def ping(self) -> None:
        self.requester += 1
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)


async def test_a_disk_that_takes_no_writes_is_down_until_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "STORAGE_REMEMBERED_S", 0.0)
    probe = tmp_path / "probe"
    requester = client(storage=lambda: try_to_write(probe))
    answer = await requester.ask("GET", "/health")
    assert (answer.json["status"], answer.json["components"]["storage"]) == ("UP", {"status": "UP"})
    for target, reason in (
        (Path("/dev/full"), "No space left on device"),
        (tmp_path / "gone" / "away", "No such file or directory"),
    ):
        probe.symlink_to(target)
        health, readiness = [await requester.ask("GET", path) for path in ("/health", "/health/readiness")]
        down = {"status": "DOWN", "details": f"takes no writes: {reason}"}
        assert (health.status, health.json["status"], health.json["components"]["storage"]) == (200, "DOWN", down)
        # The refused probe was removed, so the disk takes writes again.
        assert (readiness.status, readiness.json["status"]) == (200, "UP")
        assert list(tmp_path.iterdir()) == []


async def test_the_disk_is_written_at_most_every_ten_seconds() -> None:
    writes: list[int] = []
    requester = client(storage=lambda: writes.append(1))
    for _ in range(5):
        await requester.ask("GET", "/health")
    assert len(writes) == 1


@pytest.mark.contract("rest-core.health")
async def test_health_reports_every_component() -> None:
    answer = await client(heartbeats={"relay": Heartbeat(), "workers": Heartbeat()}).ask("GET", "/health")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json == {
        "status": "UP",
        "components": {"database": {"status": "UP"}, "relay": {"status": "UP"}, "workers": {"status": "UP"}},
        "version": __version__,
        "timestamp": "2026-07-01T12:00:00Z",
        "uptime": "0s",
    }


@pytest.mark.contract("rest-core.health.down", "rest-core.readiness")
@pytest.mark.parametrize(
    ("error", "details"),
    [
        (Unavailable("host db.internal refused"), "not reachable"),
        (TimeoutError(), "no answer within 2 s"),
        (KeyError("secret"), "the ping failed"),
    ],
)
async def test_without_the_database_health_is_200_and_readiness_503(error: Exception, details: str) -> None:
    down = client(Database(error).ping)
    health, readiness = [await down.ask("GET", path) for path in ("/health", "/health/readiness")]
    assert (health.status, readiness.status) == (200, 503)
    assert health.json["status"] == readiness.json["status"] == "DOWN"
    assert health.json["components"]["database"] == {"status": "DOWN", "details": details}
    assert (await down.ask("GET", "/health/liveness")).status == 200


async def test_a_silent_database_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "PING_TIMEOUT_S", 0.01)
    answer = await client(lambda: asyncio.sleep(60)).ask("GET", "/health/readiness")
    assert answer.status == 503


async def test_a_silent_loop_is_degraded_and_still_ready() -> None:
    silent = client(heartbeats={"relay": Heartbeat(now_s=iter([0.0, 31.0]).__next__), "queues": Heartbeat()})
    answer = await silent.ask("GET", "/health/readiness")
    assert (answer.status, answer.json["status"]) == (200, "DEGRADED")
    assert answer.json["components"]["relay"] == {"status": "DOWN", "details": "no heartbeat for 31s"}


async def test_loops_of_other_processes_are_included() -> None:
    async def silences() -> dict[str, float]:
        return {"relay": 1.0, "email": 31.0}

    answer = await client(heartbeats={"sockets": Heartbeat()}, silences=silences).ask("GET", "/health/readiness")
    components = answer.json["components"]
    assert {name: part["status"] for name, part in components.items()} == {
        "database": "UP", "sockets": "UP", "relay": "UP", "email": "DOWN",
    }  # fmt: skip


def test_a_beat_ends_the_silence_of_a_loop() -> None:
    times_s = iter([100.0, 131.0, 131.0, 132.0])
    heartbeat = Heartbeat(now_s=lambda: next(times_s))
    assert heartbeat.silent_s == 31.0
    heartbeat.beat()
    assert heartbeat.silent_s == 1.0


async def test_concurrent_health_requests_share_one_ping() -> None:
    database = Database()
    requester = client(database.ping)
    await asyncio.gather(*(requester.ask("GET", "/health") for _ in range(20)))
    assert database.requester == 1


async def test_a_cached_state_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "REMEMBERED_S", 0.0)
    requester = client(Database(Unavailable()).ping)
    assert (await requester.ask("GET", "/health/readiness")).status == 503
    assert (await requester.ask("GET", "/health/readiness")).status == 200


@pytest.mark.contract("rest-core.liveness")
async def test_liveness_is_empty() -> None:
    answer = await client(Database(Unavailable()).ping).ask("GET", "/health/liveness")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0s"), (59, "59s"), (60, "1m0s"), (3_661, "1h1m1s"), (86_400, "1d0s"), (183_845, "2d3h4m5s")],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def busy() -> Metrics:
    metrics = Metrics("1.2.3")
    metrics.request("GET /v1/trips/{id}", 200, 0.003)
    metrics.request("GET /v1/trips/{id}", 200, 0.2)
    metrics.request("GET /v1/trips/{id}", 404, 0.001)
    metrics.statement("trips_of")
    metrics.statement("trips_of")
    metrics.sockets(4)
    metrics.published(3)
    metrics.delivered(7)
    metrics.outbox(2, 1.5)
    metrics.queues([QueueDepth("email", waiting=5, in_flight=1, dead=2, oldest_s=9.5)])
    return metrics


@pytest.mark.parametrize(
    "line",
    [
        'nomadcrew_requests_total{method="GET",route="/v1/trips/{id}",status="200"} 2.0',
        'nomadcrew_requests_total{method="GET",route="/v1/trips/{id}",status="404"} 1.0',
        'nomadcrew_request_seconds_bucket{le="0.005",method="GET",route="/v1/trips/{id}"} 2.0',
        'nomadcrew_request_seconds_count{method="GET",route="/v1/trips/{id}"} 3.0',
        'nomadcrew_statements_total{name="trips_of"} 2.0',
        "nomadcrew_sockets 4.0",
        "nomadcrew_events_published_total 3.0",
        "nomadcrew_events_delivered_total 7.0",
        "nomadcrew_outbox_pending 2.0",
        "nomadcrew_outbox_lag_seconds 1.5",
        'nomadcrew_queue_jobs{queue="email",state="waiting"} 5.0',
        'nomadcrew_queue_jobs{queue="email",state="in_flight"} 1.0',
        'nomadcrew_queue_jobs{queue="email",state="dead"} 2.0',
        'nomadcrew_queue_oldest_seconds{queue="email"} 9.5',
    ],
)
def test_counted_values_are_rendered(line: str) -> None:
    assert line in busy().render().decode().splitlines()


def test_uptime_and_build_are_rendered() -> None:
    text = busy().render().decode()
    assert re.search(r"^nomadcrew_uptime_seconds \d", text, re.MULTILINE)
    assert re.search(r'^nomadcrew_build_info\{python="3\.\d+\.\d+",version="1\.2\.3"\} 1\.0$', text, re.MULTILINE)


def test_metrics_of_two_hosts_in_one_process_are_separate() -> None:
    busy()
    assert 'route="/v1/trips/{id}"' not in Metrics().render().decode()


LOCAL = {"host": "localhost:8080"}


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1"])
async def test_metrics_are_readable_on_the_machine_itself(peer: str) -> None:
    answer = await client(peer=peer, metrics=MetricsPage(busy())).ask("GET", "/metrics", LOCAL)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"nomadcrew_sockets 4.0" in answer.body


@pytest.mark.contract("jobs.metrics.fix-private")
@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("203.0.113.9", {}),
        ("", {}),
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}),
        ("203.0.113.9", {"x-forwarded-for": "127.0.0.1"}),
        ("127.0.0.1", {"host": "pages.example:8080"}),
        ("203.0.113.9", {"authorization": "Bearer wrong"}),
        ("203.0.113.9", {"authorization": "Bearer "}),
        ("203.0.113.9", {"authorization": "Basic right"}),
        ("203.0.113.9", {"authorization": "Bearer gérman"}),
    ],
)
async def test_metrics_are_refused_to_other_clients(peer: str, headers: dict[str, str]) -> None:
    for token in (None, "", "right"):
        requester = client(peer=peer, metrics=MetricsPage(busy(), token=token))
        answer = await requester.ask("GET", "/metrics", LOCAL | headers)
        assert (answer.status, answer.code) == (403, "metrics_private")


async def test_the_metrics_token_works_from_anywhere() -> None:
    requester = client(metrics=MetricsPage(busy(), token="right"))
    headers = {"authorization": "Bearer right", "x-forwarded-for": "198.51.100.1"}
    assert (await requester.ask("GET", "/metrics", headers)).status == 200


async def test_gauges_are_refreshed_before_they_are_rendered() -> None:
    metrics = Metrics()

    async def refresh() -> None:
        metrics.outbox(11, 0.5)

    requester = client(peer="127.0.0.1", metrics=MetricsPage(metrics, refresh=refresh))
    assert b"nomadcrew_outbox_pending 11.0" in (await requester.ask("GET", "/metrics", LOCAL)).body


async def test_an_outage_leaves_the_other_metrics() -> None:
    async def refresh() -> None:
        raise Unavailable

    requester = client(peer="127.0.0.1", metrics=MetricsPage(busy(), refresh=refresh))
    answer = await requester.ask("GET", "/metrics", LOCAL)
    assert (answer.status, b"nomadcrew_sockets 4.0" in answer.body) == (200, True)


async def test_the_documentation_loads_own_files_only_and_has_no_inline_script() -> None:
    requester = client()
    page = await requester.ask("GET", "/docs")
    text = page.body.decode()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script>" not in text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(addresses) == 5
    for address in addresses:
        assert address.startswith("/")
        assert (await requester.ask("GET", address)).status == 200


async def test_files_of_the_documentation_are_cached_permanently_by_version() -> None:
    requester = client()
    types = {}
    for path in Docs("http://testserver").paths:
        answer = await requester.ask("GET", path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        types[path.rpartition(".")[2]] = answer.headers["content-type"]
        assert ("immutable" in answer.headers["cache-control"]) == (path != "/docs")
    assert types["css"] == "text/css; charset=utf-8"
    assert types["js"] == "text/javascript; charset=utf-8"
    assert types["png"] == "image/png"


async def test_the_documentation_shows_our_document_without_a_validator() -> None:
    start = next(path for path in Docs("http://testserver").paths if "/start-" in path)
    body = (await client().ask("GET", start)).body
    assert b'url: "/openapi.json"' in body
    assert b"validatorUrl: null" in body


@pytest.mark.parametrize("target", ["/docs/5/x.js", "/docs/%2e%2e/%2e%2e/__init__.py", "/docs/swagger-ui.css"])
async def test_other_files_are_not_served(target: str) -> None:
    assert (await client().ask("GET", target)).status == 404


@pytest.mark.parametrize(
    ("public_url", "connect"),
    [
        ("https://api.example.com/base", "connect-src 'self' https://api.example.com;"),
        ("http://127.0.0.1:8080", "connect-src 'self' http://127.0.0.1:8080;"),
        ("nonsense; script-src *", "connect-src 'self';"),
    ],
)
async def test_the_documentation_may_call_the_public_address(public_url: str, connect: str) -> None:
    answer = await client(public_url=public_url).ask("GET", "/docs")
    assert connect in answer.headers["content-security-policy"]


async def test_the_openapi_document_is_served_and_built_once() -> None:
    requester = client(public_url="https://api.example.com")
    first, second = [await requester.ask("GET", "/openapi.json") for _ in range(2)]
    assert first.status == 200
    assert first.headers["content-type"] == "application/json; charset=utf-8"
    assert first.json["paths"]["/v1/notes"]["get"]["operationId"] == "list_notes"
    assert first.json["servers"] == [{"url": "https://api.example.com"}]
    assert first.body is second.body


def test_a_queue_that_is_no_longer_listed_is_empty() -> None:
    metrics = Metrics()
    metrics.queues([QueueDepth("email", waiting=5, in_flight=1, dead=2, oldest_s=9.5)])
    metrics.queues([QueueDepth("push", waiting=1, in_flight=0, dead=0, oldest_s=0.1)])
    page = metrics.render().decode()
    for state in ("waiting", "in_flight", "dead"):
        assert f'nomadcrew_queue_jobs{{queue="email",state="{state}"}} 0.0' in page
    assert 'nomadcrew_queue_oldest_seconds{queue="email"} 0.0' in page
    assert 'nomadcrew_queue_jobs{queue="push",state="waiting"} 1.0' in page
