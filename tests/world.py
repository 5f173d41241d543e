"""A backend in this process for component tests: real PostgreSQL and handlers, no sockets.

`World` sends requests through either host: the ASGI application or a Lambda handler.
"""

import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from msgspec.structs import replace

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.migrations import migrate
from nomadcrew.adapters.postgres.weather import PostgresWeatherCache
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.core.ids import SessionId, UserId
from nomadcrew.core.ports import Ports
from nomadcrew.core.users.model import Profile
from nomadcrew.core.weather.shared import SharedWeather
from nomadcrew.hosts.aws.allowed_methods import AllowedMethods
from nomadcrew.hosts.aws.http_event import answer, table_of
from nomadcrew.hosts.machine.http.application import Application
from nomadcrew.hosts.machine.http.downloads import Downloads, FileReply
from nomadcrew.hosts.machine.http.exchange import Exchange
from nomadcrew.hosts.machine.http.health import Health
from nomadcrew.hosts.machine.http.metrics import Metrics, MetricsPage
from nomadcrew.hosts.machine.http.router import Router
from nomadcrew.hosts.machine.ports import machine_ports
from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.settings import Settings
from nomadcrew.web.dispatch import Dispatcher
from tests.fakes import CountingIds, CountingOutbox, FixedWeather, RecordingBroadcaster, SetClock
from tests.postgres import Postgres

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NEW_TRIP = {
    "name": "Porto",
    "description": "by train",
    "destinationName": "Porto",
    "destinationAddress": "Porto, PT",
    "destinationLatitude": 41.15,
    "destinationLongitude": -8.61,
    "startDate": "2026-12-01T00:00:00.000Z",
    "endDate": "2026-12-09T00:00:00.000Z",
}


@dataclass(frozen=True, slots=True)
class User:
    """A user with a profile and a token."""

    id: UserId
    email: str
    username: str
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


@dataclass
class World:
    ports: Ports
    pool: Database
    clock: SetClock
    dispatcher: Dispatcher
    application: Application
    mail: Path
    told: RecordingBroadcaster
    database: str
    statements: list[str] = field(default_factory=list)

    async def user(self, name: str) -> User:
        """Create a user named `name` with a profile and a token for an hour."""
        now = self.clock()
        user_id = UserId(self.ports.new_id())
        email = f"{name}@example.org"
        profile = Profile(user_id, email, name, name.title(), "", "", None, None, {}, now, now)
        await self.ports.profiles.onboard(profile)
        return User(user_id, email, name, await self.token(user_id, name))

    async def token(self, user_id: UserId, username: str, *, is_admin: bool = False) -> str:
        return await token_of(self.ports, user_id, username, is_admin=is_admin)

    async def trip(self, owner: User, **fields: Any) -> UUID:
        reply = await self.call("POST", "/v1/trips", by=owner, body=NEW_TRIP | {"name": owner.username} | fields)
        assert reply.status == 201, reply.body
        return UUID(reply.json["id"])

    async def join(self, trip_id: UUID, owner: User, guest: User, role: str = "MEMBER") -> None:
        """Add `guest` to the trip by an invitation."""
        body = {"email": guest.email, "role": role}
        reply = await self.call("POST", f"/v1/trips/{trip_id}/invitations", by=owner, body=body)
        assert reply.status == 201, reply.body
        reply = await self.call("POST", f"/v1/invitations/{reply.json['id']}/accept", by=guest)
        assert reply.status == 200, reply.body

    async def call(
        self,
        method: str,
        path: str,
        *,
        by: User | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """Send a request through the machine host's HTTP application."""
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        parts = urlsplit(path)
        headers = request_headers(by, data, headers)
        exchange = Exchange(method, parts.path, parts.query, headers, "203.0.113.7")
        exchange.feed(data)
        exchange.end()
        self.statements.clear()
        reply = await self.application.answer(exchange)
        if isinstance(reply, FileReply):
            with reply.file:
                return Answer(reply.status, dict(reply.headers), reply.file.read(reply.size))
        return Answer(reply.status, dict(reply.headers), b"" if method == "HEAD" else reply.body)

    async def invoke(
        self,
        method: str,
        path: str,
        *,
        by: User | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """Send the same request as an API Gateway event through the AWS host."""
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        event = gateway_event(method, path, request_headers(by, data, headers), data)
        response = await answer(_TABLE, self.dispatcher, event, _ALLOWED.of)
        text = response["body"].encode()
        return Answer(
            response["statusCode"],
            response["headers"],
            base64.b64decode(text) if response["isBase64Encoded"] else text,
        )

    async def snapshot(self, *, without: tuple[str, ...] = ()) -> list[tuple[str, int, int]]:
        """Row count and sum of hashes of every table."""
        async with self.pool.connection() as connection:
            tables = await connection.fetch(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                " ORDER BY 1"
            )
            query = " UNION ALL ".join(
                f"SELECT '{t[0]}', count(*), coalesce(sum(hashtext(t::text)::bigint), 0)::bigint FROM {t[0]} t"
                for t in tables
                if t[0] not in without
            )
            return sorted(tuple(row) for row in await connection.fetch(query))


def request_headers(by: User | None, data: bytes, headers: Mapping[str, str] | None) -> dict[str, str]:
    sent = {"host": "api.test", "x-request-id": "req-1"}
    if data:
        sent |= {"content-type": "application/json", "content-length": str(len(data))}
    if by is not None:
        sent["authorization"] = f"Bearer {by.token}"
    return sent | {k.lower(): v for k, v in (headers or {}).items()}


_ROUTER = Router(ALL_ROUTES)
_TABLE = table_of(ALL_ROUTES)
_ALLOWED = AllowedMethods.load()


def gateway_event(method: str, path: str, headers: Mapping[str, str], data: bytes) -> dict[str, Any]:
    """A request as API Gateway's HTTP API passes it to a function, payload format 2.0."""
    parts = urlsplit(path)
    found = _ROUTER.match(method, parts.path)
    key = found and f"{method} {found[0].path}"
    return {
        "version": "2.0",
        "routeKey": key or "$default",
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        "headers": dict(headers),
        "requestContext": {
            "http": {"method": method, "path": parts.path, "sourceIp": "203.0.113.7"},
            "requestId": "gateway-1",
            "stage": "$default",
        },
        **({"pathParameters": dict(found[1])} if found and found[1] else {}),
        **({"body": base64.b64encode(data).decode(), "isBase64Encoded": True} if data else {}),
    }


async def token_of(ports: Ports, user_id: UserId, username: str, *, is_admin: bool = False) -> str:
    """An access token of the project's issuer."""
    return await ports.tokens.issue(
        account_of(user_id, username, is_admin=is_admin), SessionId(ports.new_id()), now=ports.clock()
    )


def account_of(user_id: UserId, username: str, *, is_admin: bool) -> Any:
    from nomadcrew.core.auth.model import Account

    now = NOON
    profile = Profile(user_id, f"{username}@example.org", username, "", "", "", None, None, {}, now, now)
    return Account(profile=profile, is_admin=is_admin, confirmed=True)


@asynccontextmanager
async def world(
    postgres: Postgres,
    home: Path,
    *,
    template: str | None = None,
    environment: Mapping[str, str] | None = None,
    adapt: Callable[[Ports, str], Ports] = lambda ports, _database: ports,
) -> AsyncIterator[World]:
    """A backend on a fresh database, with fake clock and ids. `adapt` replaces ports of the machine."""
    connect = await postgres.fresh_database(template)
    pool = Database(connect, size=8)
    if template is None:
        await migrate(pool)
    clock = SetClock(NOON)
    settings = Settings.read({"NOMADCREW_HOME": str(home), **(environment or {})})
    keys, mail = home / "keys", home / "mail"
    for folder in (keys, mail):
        folder.mkdir(parents=True, exist_ok=True)
    told = RecordingBroadcaster()
    ports = machine_ports(
        settings, keys, mail, home / "files", pool, url="http://api.test",
        outbox=CountingOutbox(), connections=Hub(), broadcaster=told,
        on_session_end=lambda _: None, clock=clock, new_id=CountingIds(),
    )  # fmt: skip
    if "NOMADCREW_WEATHER_URL" not in (environment or {}):
        ports = replace(ports, weather_of=SharedWeather(FixedWeather(), PostgresWeatherCache(pool)))
    downloads = Downloads(ports)
    ports = adapt(ports, str(connect["database"]))
    dispatcher = Dispatcher(ports)
    metrics = Metrics()

    async def no_socket(*_: object) -> None:
        raise AssertionError("no sockets in component tests")

    async def ping() -> None:
        return None

    application = Application(
        ALL_ROUTES,
        dispatcher,
        health=Health(ping, clock=clock),
        metrics=MetricsPage(metrics),
        downloads=downloads,
    )
    made = World(ports, pool, clock, dispatcher, application, mail, told, str(connect["database"]))
    pool.on_statement = made.statements.append
    try:
        yield made
    finally:
        await pool.close()
        await postgres.drop_database(connect)
