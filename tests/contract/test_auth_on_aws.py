"""The auth routes with the AWS adapters, from registration to sign-out."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest_asyncio
from msgspec.structs import replace

from nomadcrew.adapters.aws.dataapi import Cluster, DataApi
from nomadcrew.adapters.aws.dynamodb.connections import DynamoConnections
from nomadcrew.adapters.aws.realtime import GatewaySockets
from nomadcrew.adapters.aws.sdk.services import DYNAMODB, RDS_DATA
from nomadcrew.adapters.machine.flags import FileFlags
from nomadcrew.adapters.postgres.sql import Sql, compile_statement
from nomadcrew.api.auth import routes as auth
from nomadcrew.api.users import routes as user
from nomadcrew.core.auth.ports import RegistrationId
from nomadcrew.core.clock import utc_now
from nomadcrew.core.ids import SessionId, UserId, parse_uuid, uuid7
from nomadcrew.core.ports import Ports, Site
from nomadcrew.core.realtime import Connection
from nomadcrew.hosts.aws.http_event import answer
from nomadcrew.web.dispatch import Dispatcher
from tests.contract.auth_ports import PASSWORD, cheap_passwords
from tests.contract.aws_auth import AwsAuth
from tests.contract.cloud import Cloud
from tests.contract.fake_gateway import gateway
from tests.fakes import fake_ports
from tests.postgres import Postgres
from tests.world import gateway_event

ANA = {"email": "ana@example.org", "password": PASSWORD, "username": "ana"}
TABLE = {route.key: route for route in (*auth.routes, *user.routes)}
_MAILS = compile_statement("mails", "SELECT payload FROM outbox ORDER BY occurred_at")


@dataclass
class Reply:
    status: int
    body: Any

    @property
    def code(self) -> str:
        return str(self.body["code"])


@dataclass
class Phone:
    """A client of the functions behind API Gateway, which has verified the token."""

    ports: Ports
    sql: Sql
    connections: DynamoConnections

    async def send(self, method: str, path: str, body: object = None, *, token: str | None = None) -> Reply:
        data = b"" if body is None else json.dumps(body).encode()
        event = gateway_event(method, path, {"content-type": "application/json", "host": "api.test"}, data)
        if token is not None:
            event["headers"]["authorization"] = f"Bearer {token}"
        response = await answer(TABLE, Dispatcher(self.ports), event)
        return Reply(response["statusCode"], json.loads(response["body"] or "null"))

    async def send_through_gateway(self, method: str, path: str, token: str) -> Reply:
        """As `send`, with the claims that the authorizer passes on."""
        event = gateway_event(method, path, {"host": "api.test"}, b"")
        claims = await self.ports.verifier.verify(token, now=utc_now())
        event["requestContext"]["authorizer"] = {"lambda": {"claims": msgspec.json.encode(claims).decode()}}
        response = await answer(TABLE, Dispatcher(self.ports), event)
        return Reply(response["statusCode"], json.loads(response["body"] or "null"))

    async def mailed_code(self) -> str:
        about = json.loads((await self.sql.fetch(_MAILS))[-1]["payload"])
        id_ = parse_uuid(about["registration_id"])
        assert id_ is not None
        return self.ports.tokens.confirmation_code(RegistrationId(id_))


@pytest_asyncio.fixture(loop_scope="session")
async def phone(
    aws_auth: AwsAuth,
    postgres: Postgres,
    template: str,
    cluster: Cluster,
    cloud: Cloud,
    tmp_path: Path,
) -> AsyncIterator[Phone]:
    connect = await postgres.fresh_database(template)
    sql = DataApi(aws_auth.aws.client(RDS_DATA), replace(cluster, database=str(connect["database"])))
    passwords = cheap_passwords()
    connections = DynamoConnections(aws_auth.aws.client(DYNAMODB), await cloud.connections_table())

    async def on_end(user_id: UserId, session_id: SessionId, now: datetime) -> None:
        await connections.end_session(user_id, session_id, now=now)

    ports = fake_ports(
        site=Site("https://api.test", mail_leaves=True),
        clock=utc_now,
        new_id=uuid7,
        flags=FileFlags(tmp_path / "flags.json"),
        accounts=aws_auth.accounts(sql, passwords),
        profiles=aws_auth.profiles(sql),
        sessions=aws_auth.sessions(sql, passwords, on_end),
        open_sessions=aws_auth.open_sessions(),
        tokens=aws_auth.tokens(),
        verifier=aws_auth.verifier(),
    )
    yield Phone(ports, sql, connections)
    await postgres.drop_database(connect)


async def registered(phone: Phone) -> dict[str, Any]:
    """Register ana and sign in by the link in the mail."""
    reply = await phone.send("POST", "/v1/auth/register", ANA)
    assert (reply.status, reply.body) == (202, {"confirmation_required": True})
    reply = await phone.send("POST", "/v1/auth/confirm", {"token": await phone.mailed_code(), "password": PASSWORD})
    assert reply.status == 200
    signed_in: dict[str, Any] = reply.body
    return signed_in


async def test_signing_out_ends_the_access_token_of_that_device_at_once(phone: Phone) -> None:
    first = await registered(phone)
    login = await phone.send("POST", "/v1/auth/login", {"username": "ana", "password": PASSWORD})
    tokens = [first["access_token"], login.body["access_token"]]

    async def statuses() -> list[int]:
        return [(await phone.send_through_gateway("GET", "/v1/users/me", token)).status for token in tokens]

    assert await statuses() == [200, 200]
    await phone.send("POST", "/v1/auth/logout", {"refresh_token": first["refresh_token"]})
    assert await statuses() == [401, 200]
    await phone.ports.accounts.set_password(UserId(UUID(first["user"]["id"])), "Another2pass!", now=utc_now())
    assert await statuses() == [401, 401]


async def test_a_user_registers_signs_in_refreshes_and_signs_out(phone: Phone) -> None:
    first = await registered(phone)
    reply = await phone.send("GET", "/v1/auth/validate", token=first["access_token"])
    assert (reply.status, reply.body["user"]["username"]) == (200, "ana")
    login = await phone.send("POST", "/v1/auth/login", {"username": "ANA", "password": PASSWORD})
    assert (login.status, login.body["user"]["id"]) == (200, first["user"]["id"])
    refreshed = await phone.send("POST", "/v1/auth/refresh", {"refresh_token": first["refresh_token"]})
    assert refreshed.status == 200
    assert refreshed.body["refresh_token"] != first["refresh_token"]
    me = await phone.send("GET", "/v1/users/me", token=refreshed.body["access_token"])
    assert (me.status, me.body["email"]) == (200, "ana@example.org")
    assert (
        await phone.send("POST", "/v1/auth/logout", {"refresh_token": refreshed.body["refresh_token"]})
    ).status == 204
    ended = await phone.send("POST", "/v1/auth/refresh", {"refresh_token": refreshed.body["refresh_token"]})
    assert (ended.status, ended.code) == (401, "invalid_refresh_token")
    other = await phone.send("POST", "/v1/auth/refresh", {"refresh_token": login.body["refresh_token"]})
    assert other.status == 200


async def receivers_of(phone: Phone, user_id: UserId) -> set[str]:
    """The ids of a user's connections that receive an event now."""
    async with gateway() as (made, client):
        sockets = GatewaySockets(phone.connections, client)
        await sockets.deliver("{}", [user_id], None, now=utc_now())
        return set(made.sent)


async def connect(phone: Phone, signed_in: dict[str, Any], connection_id: str) -> UserId:
    """Open a socket with the access token, like the authorizer and `$connect`."""
    claims = await phone.ports.verifier.verify(signed_in["access_token"], now=utc_now())
    session_id, expires_at = claims.session_id, claims.expires_at
    await phone.connections.add(Connection(connection_id, claims.user_id, session_id, expires_at, utc_now()))
    return claims.user_id


async def test_signing_out_ends_the_sockets_of_that_session_only(phone: Phone) -> None:
    first = await registered(phone)
    second = (await phone.send("POST", "/v1/auth/login", {"username": "ana", "password": PASSWORD})).body
    me = await connect(phone, first, "phone")
    await connect(phone, second, "tablet")
    assert await receivers_of(phone, me) == {"phone", "tablet"}
    reply = await phone.send("POST", "/v1/auth/logout", {"refresh_token": first["refresh_token"]})
    assert reply.status == 204
    assert await receivers_of(phone, me) == {"tablet"}


async def test_refusals_are_those_of_the_machine_host(phone: Phone) -> None:
    await phone.send("POST", "/v1/auth/register", ANA)
    unconfirmed = await phone.send("POST", "/v1/auth/login", {"email": ANA["email"], "password": PASSWORD})
    assert (unconfirmed.status, unconfirmed.code) == (403, "email_not_confirmed")
    code = await phone.mailed_code()
    assert (await phone.send("POST", "/v1/auth/confirm", {"token": code, "password": PASSWORD})).status == 200
    used = await phone.send("POST", "/v1/auth/confirm", {"token": code, "password": PASSWORD})
    assert (used.status, used.code) == (400, "confirmation_used")
    for login_name in ({"email": ANA["email"]}, {"username": "nobody"}):
        wrong = await phone.send("POST", "/v1/auth/login", {**login_name, "password": "Wrong1!password"})
        assert (wrong.status, wrong.code) == (401, "invalid_credentials")
    forged = await phone.send("GET", "/v1/auth/validate", token="a.b.c")
    assert (forged.status, forged.code) == (401, "auth_failed")
    weak = await phone.send("POST", "/v1/auth/register", {**ANA, "email": "b@example.org", "password": "short"})
    assert (weak.status, weak.code) == (400, "weak_password")


async def test_the_published_keys_are_those_of_the_pool(phone: Phone) -> None:
    reply = await phone.send("GET", "/.well-known/jwks.json")
    assert reply.status == 200
    assert reply.body == await phone.ports.tokens.jwks(now=utc_now())
