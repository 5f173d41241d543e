"""A test application with its own routes, called without a server."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from nomadcrew.core.errors import Conflict, Unavailable
from nomadcrew.hosts.machine.http.application import Application
from nomadcrew.hosts.machine.http.client_address import TrustedProxies
from nomadcrew.hosts.machine.http.cors import Cors
from nomadcrew.hosts.machine.http.exchange import Exchange, joined_headers
from nomadcrew.hosts.machine.http.health import Health
from nomadcrew.hosts.machine.http.metrics import Metrics, MetricsPage
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.dispatch import Dispatcher
from nomadcrew.web.routes import Auth, Idempotency, Routes
from tests.fakes import SetClock, fake_ports


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        code: str = self.json["code"]
        return code


class Client:
    """Calls an application as the protocol does."""

    def __init__(self, app: Application, *, peer: str = "203.0.113.9") -> None:
        self.app = app
        self.peer = peer

    async def ask(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes | list[bytes] = b"",
    ) -> Answer:
        """The response. A body given as a list arrives in pieces and without a length."""
        exchange = self.exchange(method, target, headers, body)
        parts = body if isinstance(body, list) else [body] if body else []
        sending = asyncio.create_task(_send(exchange, parts))
        reply = await self.app.answer(exchange)
        sending.cancel()
        return Answer(reply.status, dict(reply.headers), b"" if method == "HEAD" else reply.body)

    def exchange(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes | list[bytes] = b"",
    ) -> Exchange:
        """A request of which no part of the body has arrived."""
        pairs = list(headers.items() if isinstance(headers, dict) else headers)
        if isinstance(body, list):
            pairs.append(("transfer-encoding", "chunked"))
        elif body:
            pairs.append(("content-length", str(len(body))))
        path, _, query = target.partition("?")
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
        return Exchange(method, path, query, joined_headers(raw), self.peer)


async def _send(exchange: Exchange, parts: list[bytes]) -> None:
    for part in parts:
        await asyncio.sleep(0)
        exchange.feed(part)
    exchange.end()


class Echo(msgspec.Struct):
    """The request as the handler received it."""

    params: dict[str, str]
    query: dict[str, list[str]]
    client_ip: str
    text: str = ""


class Note(msgspec.Struct):
    text: str


routes = Routes("test")
created: list[str] = []


def echo(call: Call, text: str = "") -> Echo:
    query = {name: list(values) for name, values in call.request.query.items()}
    return Echo(dict(call.request.params), query, call.request.client_ip, text)


@routes.get("/v1/notes")
async def list_notes(call: Call) -> Echo:
    """List notes."""
    return echo(call)


@routes.post("/v1/notes", status=201)
async def create_note(call: Call, body: Note) -> Echo:
    """Create a note."""
    created.append(body.text)
    return echo(call, body.text)


@routes.post("/v1/novels", status=201, max_body_bytes=2 << 20)
async def create_novel(call: Call, body: Note) -> Echo:
    """Create a note with a larger limit."""
    created.append(body.text)
    return echo(call)


@routes.get("/v1/notes/{id}")
async def get_note(call: Call) -> Echo:
    """Get a note."""
    return echo(call)


@routes.delete("/v1/notes/{id}", status=204)
async def delete_note(call: Call) -> None:
    """Delete a note."""


@routes.post("/v1/fail/{how}", auth=Auth.PUBLIC, idempotency=Idempotency.NEVER)
async def fail(call: Call) -> None:
    """Raise an error."""
    how = call.request.params["how"]
    if how == "slowly":
        await asyncio.sleep(0.05)
        return
    raise {"conflict": Conflict("Twice."), "outage": Unavailable(), "bug": KeyError("a secret")}[how]


@routes.get("/invite/accept/{token}", auth=Auth.PUBLIC, html=True)
async def page(call: Call) -> Reply:
    """Show a page."""
    return Reply(200, b"<p>hello</p>", {"content-type": "text/html; charset=utf-8"})


@dataclass
class Observed:
    """Records requests."""

    seen: list[tuple[str, int]]

    def __call__(self, key: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((key, status))


async def ping() -> None: ...


class Host:
    """An application and its recorded requests."""

    def __init__(self, *, cors: Cors | None = None, proxies: TrustedProxies | None = None, **ports: Any) -> None:
        self.observed = Observed([])
        self.ports = fake_ports(**ports)
        self.dispatcher = Dispatcher(self.ports, self.observed)
        self.app = Application(
            routes,
            self.dispatcher,
            health=Health(ping, clock=SetClock()),
            metrics=MetricsPage(Metrics()),
            cors=cors,
            proxies=proxies,
            observe=self.observed,
        )
        self.client = Client(self.app)
        created.clear()
