"""Each Lambda function as deployed: its package alone in a bare interpreter, called with a recorded event.

The emulator provides its resources: SQL over the Data API, tables, queues, a bus, a user pool and a secret.
"""

import asyncio
import hashlib
import hmac
import json
import platform
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from infrastructure import package
from infrastructure.config import stage_of
from infrastructure.functions import BY_NAME, FUNCTIONS, services_of
from infrastructure.grants import OUTSIDE_SECRETS, OWN_SECRETS, ResourceRefs, environment_of
from infrastructure.imports import function_environment
from nomadcrew.adapters.aws.dataapi import Cluster
from nomadcrew.adapters.aws.dynamodb.open_sessions import session_key
from nomadcrew.adapters.machine.invitation_links import SignedInvitationLinks
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.invitations import PostgresInvitations
from nomadcrew.core.access import Command
from nomadcrew.core.clock import utc_now
from nomadcrew.core.ids import EventId, InvitationId, SessionId, TripId, UserId, uuid7
from nomadcrew.core.invitations.model import Invitation
from nomadcrew.core.permissions import ADMIN, Role
from tests.contract.cloud import Cloud
from tests.contract.trip_database import TripDb
from tests.emulator import Aws, aws, cluster, owner
from tests.postgres import Postgres
from tests.unit.test_aws_cold_start import EVERYWHERE, NOWHERE, OWN, libraries_in

__all__ = ["aws", "cluster", "owner"]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="packages are for Linux")

ARCH = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "x86_64")
HERE = package.Target(ARCH, f"{sys.version_info[0]}.{sys.version_info[1]}")
STAGE = stage_of("rehearsal", "lean")
KEY = "k" * 64
SESSION = SessionId(uuid7())
# As on Lambda: modules are imported from the package and the standard library only.
RUN = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])

class Context:
    aws_request_id = "call-1"
    def get_remaining_time_in_millis(self):
        return 20_000

handler = importlib.import_module(sys.argv[2]).handler
answers = []
for event in json.load(sys.stdin):
    try:
        answers.append(handler(event, Context()))
    except Exception as error:
        answers.append({"raised": f"{type(error).__name__}: {error}"})
files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
print(json.dumps({"answers": answers, "files": files}))
"""
NO_FAILURES: dict[str, list[str]] = {"batchItemFailures": []}


@dataclass(frozen=True, slots=True)
class Deployment:
    """The unpacked packages, the functions' environment, and the ids of the test data."""

    tasks: Path
    environment: dict[str, str]
    values: dict[str, str]
    me: UserId
    trip_id: TripId
    link: str

    def settings(self, function: str) -> dict[str, str]:
        """A function's environment: exactly the variables that the infrastructure sets for its ports."""
        defaults = function_environment(function, STAGE)
        places = ResourceRefs(STAGE, values={**defaults, **self.values})
        return {
            **{name: value for name, value in defaults.items() if not name.startswith("NOMADCREW_AWS_")},
            **environment_of(BY_NAME[function], services_of(function), places),
            **self.environment,
            "AWS_LAMBDA_FUNCTION_NAME": f"nomadcrew-test-{function}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        }

    async def call(self, function: str, *events: dict[str, Any]) -> list[Any]:
        """The answers to events, by a process that loaded only the allowed libraries."""
        task = self.tasks / function
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", RUN, str(task), f"nomadcrew.hosts.aws.functions.{function}",
            env=self.settings(function), cwd=task,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, errors = await run.communicate(json.dumps(events).encode())
        assert run.returncode == 0, errors.decode()
        result = json.loads(out.splitlines()[-1])
        self._check(function, result["files"])
        for line in errors.splitlines():
            assert json.loads(line)["function_name"] == f"nomadcrew-test-{function}", line
        answers: list[Any] = result["answers"]
        return answers

    def _check(self, function: str, files: dict[str, str | None]) -> None:
        libraries = libraries_in(frozenset(files) - {"__main__"})
        assert libraries - EVERYWHERE - OWN.get(function, set()) == set()
        assert libraries & NOWHERE == set()
        foreign = {name: file for name, file in files.items() if file and "-packages" in file}
        assert foreign == {}

    def request(self, route: str, **params: str) -> dict[str, Any]:
        """A signed-in client's request, as an event of API Gateway."""
        method, _, path = route.partition(" ")
        claims = {"user_id": str(self.me), "session_id": str(SESSION), "expires_at": "2100-01-01T00:00:00Z"}
        return {
            "version": "2.0",
            "routeKey": route,
            "rawPath": path,
            "rawQueryString": "",
            "headers": {"host": "api.test", "user-agent": "okhttp/4.12.0", "authorization": "Bearer checked"},
            "requestContext": {
                "authorizer": {"lambda": {"claims": json.dumps(claims)}},
                "http": {"method": method, "path": path, "sourceIp": "203.0.113.9"},
                "requestId": "gateway-1",
            },
            "pathParameters": params,
            "isBase64Encoded": False,
        }


def unpacked(folder: Path) -> Path:
    """Build and unpack every package."""
    packages = package.package_path(STAGE, HERE.arch, HERE.python)
    package.build(STAGE, HERE, packages)
    for spec in FUNCTIONS:
        with zipfile.ZipFile(packages / f"{spec.name}.zip") as archive:
            archive.extractall(folder / spec.name)
    return folder


async def places(aws: Aws, cloud: Cloud, where: Cluster, owner: Cluster, database: str) -> dict[str, str]:
    """Create the infrastructure's resources on the emulator. Returns their settings."""
    secrets = {
        name: aws.boto("secretsmanager").create_secret(Name=name, SecretString=json.dumps({"key": KEY}))["ARN"]
        for name in (*OWN_SECRETS, *OUTSIDE_SECRETS)
    }
    cognito = aws.boto("cognito-idp")
    pool = cognito.create_user_pool(PoolName="entries")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(UserPoolId=pool, ClientName="auth")["UserPoolClient"]["ClientId"]
    queues = {name: await cloud.work_queue() for name in ("probe", "notifications", "realtime")}
    made = {
        "CLUSTER_ARN": where.arn,
        "DATABASE_SECRET_ARN": where.secret_arn,
        "OWNER_SECRET_ARN": owner.secret_arn,
        "DATABASE": database,
        **{f"SECRET_{name.upper()}_ARN": arn for name, arn in secrets.items()},
        "USER_POOL_ID": pool,
        "USER_POOL_CLIENT_ID": client,
        "EVENT_BUS": await cloud.bus_to({}),
        "EMAIL_QUEUE_URL": await cloud.work_queue(fifo=True),
        "CHAT_TABLE": await cloud.chat_table(),
        "SESSIONS_TABLE": await cloud.sessions_table(),
        "LIMITS_TABLE": await cloud.table("bucket"),
        "PROFILES_TABLE": await cloud.table("userId"),
        "SUPPRESSION_TABLE": await cloud.table("address"),
        "CONNECTIONS_TABLE": await cloud.connections_table(),
        "POSITIONS_TABLE": await cloud.positions_table(),
        "HISTORY_TABLE": await cloud.history_table(),
        "LOCATION_STORE": STAGE.location_store,
        "STREAM": STAGE.stream,
        "SOCKETS_URL": f"{aws.environment['AWS_ENDPOINT_URL']}/sockets/v1",
        **{f"{name.upper()}_QUEUE_URL": url for name, url in queues.items()},
    }
    return {f"NOMADCREW_AWS_{name}": value for name, value in made.items()}


async def invited(crew: TripDb, trip_id: TripId, inviter: UserId) -> str:
    """The secret of an invitation's link."""
    now, invitation_id = utc_now(), InvitationId(uuid7())
    await PostgresInvitations(crew.pool).invite(
        Command(trip_id, inviter, ADMIN, EventId(uuid7()), now),
        "eve@example.org",
        Role.MEMBER,
        invitation_id=invitation_id,
    )
    invitation = Invitation(
        invitation_id,
        trip_id,
        inviter,
        "eve@example.org",
        None,
        "MEMBER",
        "PENDING",
        now + timedelta(days=7),
        now,
        now,
    )
    secret = hmac.digest(KEY.encode(), b"invitations", hashlib.sha256).hex()
    return SignedInvitationLinks([secret]).issue(invitation, now=now)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def deployment(
    aws: Aws,
    cluster: Cluster,
    owner: Cluster,
    postgres: Postgres,
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Deployment]:
    tasks = unpacked(tmp_path_factory.mktemp("tasks"))
    connect = await postgres.fresh_database(template)
    database = Database(connect, size=2)
    crew = TripDb(database)
    me = await crew.user("ana")
    trip_id = await crew.trip(me, name="Porto")
    link = await invited(crew, trip_id, me)
    await database.close()
    values = await places(aws, Cloud(aws), cluster, owner, str(connect["database"]))
    session = {**session_key(me, SESSION), "expiresAt": {"N": "4102444800"}}
    aws.boto("dynamodb").put_item(TableName=values["NOMADCREW_AWS_SESSIONS_TABLE"], Item=session)
    yield Deployment(tasks, aws.environment, values, me, trip_id, link)
    await postgres.drop_database(connect)


READS = {
    "users": ("GET /v1/users/me", "ana@example.org"),
    "trips": ("GET /v1/trips", "Porto"),
    "members": ("GET /v1/trips/{id}/members", "OWNER"),
    "invitations": ("GET /v1/trips/{id}/invitations", "eve@example.org"),
    "todos": ("GET /v1/trips/{id}/todos", "["),
    "calendars": ("GET /v1/calendars", "["),
    "documents": ("GET /v1/wallet/documents", "pagination"),
    "pictures": ("GET /v1/trips/{id}/images", "[]"),
    "polls": ("GET /v1/trips/{id}/polls", "["),
    "webhooks": ("GET /v1/trips/{id}/webhooks", "webhooks"),
    "notifications": ("GET /v1/notifications", "["),
    "identities": ("GET /v1/auth/identities", "identities"),
    "passkeys": ("GET /v1/auth/passkeys", "passkeys"),
    "chat": ("GET /v1/trips/{id}/chat/messages", "has_more"),
    "sync": ("GET /v1/trips/{id}/screen", "has_more"),
    "locations": ("GET /v1/trips/{id}/locations", "locations"),
}


@pytest.mark.parametrize("function", READS)
async def test_an_api_function_reads_from_the_database(deployment: Deployment, function: str) -> None:
    route, part = READS[function]
    [answer] = await deployment.call(function, deployment.request(route, id=str(deployment.trip_id)))
    assert answer["statusCode"] == 200, answer
    assert part in answer["body"]


async def test_auth_returns_the_caller_and_the_pools_keys(deployment: Deployment) -> None:
    caller, keys, stranger = await deployment.call(
        "auth",
        deployment.request("GET /v1/auth/validate"),
        deployment.request("GET /.well-known/jwks.json"),
        {**deployment.request("GET /v1/auth/validate"), "requestContext": {}},
    )
    assert (caller["statusCode"], json.loads(caller["body"])["user"]["username"]) == (200, "ana")
    assert keys["statusCode"] == 200
    assert all(key["kty"] == "RSA" for key in json.loads(keys["body"])["keys"])
    assert stranger["statusCode"] == 401


async def test_feedback_is_checked(deployment: Deployment) -> None:
    [answer] = await deployment.call("feedback", deployment.request("POST /v1/feedback"))
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (400, "invalid_request_payload")


async def test_a_page_shows_an_invitation_and_refuses_a_forged_one(deployment: Deployment) -> None:
    route, token = "GET /invite/accept/{token}", deployment.link
    shown, refused = await deployment.call(
        "pages", deployment.request(route, token=token), deployment.request(route, token=f"{token[:-4]}AAAA")
    )
    assert shown["statusCode"] == 200
    assert "Porto" in shown["body"]
    assert refused["statusCode"] == 404


@pytest.mark.parametrize(
    ("function", "route", "code"),
    [
        ("weather", "GET /v1/trips/{id}/weather", "weather_off"),
        ("places", "GET /v1/places/suggest", "invalid_request_payload"),
        ("archives", "POST /v1/trips:import:presign", "invalid_request_payload"),
        ("erasure", "DELETE /v1/users/me", "invalid_request_payload"),
    ],
)
async def test_a_function_refuses_a_request_that_it_cannot_answer(
    deployment: Deployment, function: str, route: str, code: str
) -> None:
    off = replace(deployment, environment={**deployment.environment, "NOMADCREW_WEATHER_URL": ""})
    [answer] = await off.call(function, off.request(route, id=str(off.trip_id)))
    assert json.loads(answer["body"])["code"] == code


EVENTS: dict[str, tuple[dict[str, Any], Any]] = {
    "cognito_triggers": (
        {
            "triggerSource": "DefineAuthChallenge_Authentication",
            "userName": str(uuid7()),
            "request": {"session": []},
        },
        {"challengeName": "CUSTOM_CHALLENGE", "failAuthentication": False, "issueTokens": False},
    ),
    "cognito_confirmed": (
        {"triggerSource": "PostConfirmation_ConfirmSignUp", "userName": str(uuid7()), "response": {}},
        {},
    ),
    "authorizer": (
        {"methodArn": "arn:x", "headers": {}, "queryStringParameters": {"token": "a.b.c"}},
        {"raised": "Unauthorized: Unauthorized"},
    ),
    "http_authorizer": (
        {"version": "2.0", "headers": {"authorization": "Bearer nck_forged"}},
        {
            "isAuthorized": True,
            "context": {"code": "invalid_api_key", "text": "The API key is not valid, or has ended."},
        },
    ),
    "webhook_sender": ({"Records": []}, NO_FAILURES),
    "websocket": (
        {"requestContext": {"eventType": "DISCONNECT", "routeKey": "$disconnect", "connectionId": "c"}},
        {"statusCode": 200},
    ),
    "keepalive": ({}, None),
    "chat_fanout": ({"Records": []}, NO_FAILURES),
    "iot_publisher": ({"Records": []}, NO_FAILURES),
    "iot_authorizer": ({"protocolData": {"mqtt": {"clientId": "c"}}}, {"isAuthenticated": False}),
    "retention": ({}, None),
    "weather_updates": ({}, None),
    "eraser": ({}, None),
    "outbox_sweep": ({"Records": []}, NO_FAILURES),
    "realtime": ({"Records": []}, NO_FAILURES),
    "notifier": ({"Records": []}, NO_FAILURES),
    "push": ({"Records": []}, NO_FAILURES),
    "mirror": ({"Records": []}, NO_FAILURES),
    "exporter": ({"Records": []}, NO_FAILURES),
    "email": ({"Records": []}, NO_FAILURES),
    "renderer": ({"Records": []}, NO_FAILURES),
    "backgrounds": ({"Records": []}, NO_FAILURES),
    "audit": ({"Records": []}, NO_FAILURES),
    "ses_feedback": ({"Records": []}, NO_FAILURES),
    "location_stream": ({"Records": []}, NO_FAILURES),
    "migrator": (
        {"RequestType": "Update"},
        {"Status": "SUCCESS", "PhysicalResourceId": "nomadcrew-schema", "Data": {"Applied": ""}},
    ),
}


@pytest.mark.parametrize("function", EVENTS)
async def test_a_function_answers_its_event(deployment: Deployment, function: str) -> None:
    event, expected = EVENTS[function]
    [answer] = await deployment.call(function, event)
    assert (answer["response"] if "triggerSource" in event else answer) == expected


def test_every_function_has_a_test() -> None:
    others = {"archives", "auth", "erasure", "feedback", "pages", "places", "weather"}
    assert {*READS, *EVENTS} | others == {spec.name for spec in FUNCTIONS}
