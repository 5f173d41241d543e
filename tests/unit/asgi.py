"""A test application with its own routes behind a minimal ASGI server, without sockets."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from nomadcrew.core.errors import Conflict, Unavailable
from nomadcrew.hosts.machine.http.asgi import App, Application, Message, Receive, Scope, Send
from nomadcrew.hosts.machine.http.client_address import TrustedProxies
from nomadcrew.hosts.machine.http.cors import Cors
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


def scope_of(method: str, target: str, headers: Iterable[tuple[str, str]], peer: str | None) -> Scope:
    raw_path, _, query = target.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": "unused: this server passes the raw path",
        "raw_path": raw_path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": None if peer is None else (peer, 50_000),
    }


class Client:
    """Calls an application like a server."""

    def __init__(self, app: App, *, peer: str | None = "203.0.113.9") -> None:
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
        all_headers = list(headers.items() if isinstance(headers, dict) else headers)
        pieces = body if isinstance(body, list) else [body]
        if isinstance(body, list):
            all_headers.append(("transfer-encoding", "chunked"))
        elif body:
            all_headers.append(("content-length", str(len(body))))
        messages = [
            {"type": "http.request", "body": piece, "more_body": index < len(pieces)}
            for index, piece in enumerate(pieces, start=1)
        ]
        sent = await self.drive(scope_of(method, target, all_headers, self.peer), messages)
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        raw: list[tuple[bytes, bytes]] = sent[0]["headers"]
        names = [name for name, _ in raw]
        assert len(set(names)) == len(names), "duplicate header"
        return Answer(sent[0]["status"], {n.decode(): v.decode("latin-1") for n, v in raw}, sent[1]["body"])

    async def drive(self, scope: Scope, messages: list[Any]) -> list[Message]:
        """All messages of the application, for the messages that it receives."""
        sent: list[Message] = []
        remaining = iter(messages)

        async def receive() -> Message:
            message: Message = next(remaining)
            return message

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return sent


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


async def no_sockets(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close", "code": 4400})


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
            websocket=no_sockets,
            health=Health(ping, clock=SetClock()),
            metrics=MetricsPage(Metrics()),
            cors=cors,
            proxies=proxies,
            observe=self.observed,
        )
        self.client = Client(self.app)
        created.clear()
