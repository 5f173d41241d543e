"""Calls to AWS on a faulty server: retries, outages and refusals."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import SupportsIndex

import pytest

from nomadcrew.adapters.aws.sdk import client as client_module
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.aws.sdk.services import DYNAMODB, RDS_DATA, SOCKETS, endpoint_of
from nomadcrew.core.errors import Unavailable
from tests.contract.faulty_server import KEYS, FaultyServer
from tests.emulator import Aws


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(client_module, "BACKOFF_S", 0.001)
    made = FaultyServer()
    yield made
    made.close()


@pytest.fixture
def client(server: FaultyServer) -> Iterator[AwsClient]:
    made = AwsClient(DYNAMODB, environment={**KEYS, "AWS_ENDPOINT_URL": server.url})
    yield made
    made.close()


async def test_a_call_names_its_operation_and_is_signed(server: FaultyServer, client: AwsClient) -> None:
    server.answers = [(200, {"Count": 1}, {})]
    assert await client.call("Query", {"TableName": "t"}) == {"Count": 1}
    [(path, headers, body)] = server.requests
    assert (path, json.loads(body)) == ("/", {"TableName": "t"})
    assert headers["x-amz-target"] == "DynamoDB_20120810.Query"
    assert headers["content-type"] == "application/x-amz-json-1.0"
    assert "Credential=key/" in headers["authorization"]


async def test_a_public_operation_is_not_signed(server: FaultyServer) -> None:
    unsigned = AwsClient(DYNAMODB, environment={"AWS_ENDPOINT_URL": server.url})
    await unsigned.call("SignUp", {}, signed=False)
    [(_, headers, _)] = server.requests
    assert "authorization" not in headers
    unsigned.close()


async def test_consecutive_calls_share_one_connection(server: FaultyServer, client: AwsClient) -> None:
    for _ in range(5):
        await client.call("Query", {})
    assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "ThrottlingException"), (429, "LimitExceededException"), (500, "InternalServerError")],
)
async def test_a_temporary_error_is_retried(
    server: FaultyServer, client: AwsClient, status: int, code: str
) -> None:
    server.answers = [(status, {"__type": f"com.amazonaws#{code}"}, {})] * 2 + [(200, {"ok": True}, {})]
    assert await client.call("Query", {}) == {"ok": True}
    assert len(server.requests) == 3


async def test_three_temporary_errors_are_an_outage(server: FaultyServer, client: AwsClient) -> None:
    server.answers = [(400, {"__type": "ThrottlingException"}, {})]
    with pytest.raises(Unavailable) as outage:
        await client.call("Query", {})
    assert outage.value.details == "dynamodb: ThrottlingException"
    assert len(server.requests) == 3


async def test_a_refusal_is_not_retried_and_has_its_code(server: FaultyServer, client: AwsClient) -> None:
    server.answers = [(400, {"message": "no"}, {"x-amzn-errortype": "ConditionalCheckFailedException:http://x"})]
    with pytest.raises(AwsError) as refused:
        await client.call("PutItem", {})
    assert (refused.value.code, refused.value.status, refused.value.message) == (
        "ConditionalCheckFailedException",
        400,
        "no",
    )
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
async def test_expired_credentials_are_an_outage_without_retry(
    server: FaultyServer, client: AwsClient, code: str
) -> None:
    server.answers = [(400, {"__type": code}, {})]
    with pytest.raises(Unavailable):
        await client.call("Query", {})
    assert len(server.requests) == 1


async def test_missing_credentials_are_an_outage(server: FaultyServer) -> None:
    with pytest.raises(Unavailable, match="unavailable"):
        await AwsClient(DYNAMODB, environment={"AWS_ENDPOINT_URL": server.url}).call("Query", {})


async def test_a_wrong_clock_is_corrected_from_the_reply(server: FaultyServer, client: AwsClient) -> None:
    ahead = timedelta(hours=3)
    server.clock = lambda: datetime.now(UTC) + ahead
    server.answers = [(403, {"__type": "InvalidSignatureException"}, {}), (200, {}, {})]
    await client.call("Query", {})
    stamps = [datetime.strptime(h["x-amz-date"], "%Y%m%dT%H%M%S%z") for _, h, _ in server.requests]
    assert abs(stamps[1] - stamps[0] - ahead) < timedelta(minutes=1)


async def test_a_wrong_signature_with_a_correct_clock_is_an_outage(server: FaultyServer, client: AwsClient) -> None:
    server.answers = [(403, {"__type": "InvalidSignatureException"}, {})]
    with pytest.raises(Unavailable):
        await client.call("Query", {})
    assert len(server.requests) == 1


async def test_a_timeout_is_an_outage_and_only_repeatable_calls_are_retried(
    server: FaultyServer, client: AwsClient
) -> None:
    server.silent_s = 5.0
    with pytest.raises(Unavailable):
        await client.call("Query", {}, timeout_s=0.05)
    with pytest.raises(Unavailable):
        await client.call("Execute", {}, timeout_s=0.05, repeatable=False)
    assert len(server.requests) == 3 + 1


async def test_a_connection_closed_by_the_server_is_replaced_before_use(server: FaultyServer) -> None:
    client = AwsClient(RDS_DATA, environment={**KEYS, "AWS_ENDPOINT_URL": server.url})
    await client.request("POST", "/Execute", {}, repeatable=False)
    idle = client._idle[0]
    assert idle.sock is not None
    server.answers = [(200, {}, {"connection": "close"})]
    await client.request("POST", "/Execute", {}, repeatable=False)
    await client.request("POST", "/Execute", {}, repeatable=False)
    assert server.connections == 2
    client.close()


async def test_a_connection_taken_by_another_thread_is_replaced(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = AwsClient(DYNAMODB, environment={**KEYS, "AWS_ENDPOINT_URL": server.url})
    await client.call("Query", {})
    idle = TakenMeanwhile(client._idle)
    monkeypatch.setattr(client, "_idle", idle)
    await client.call("Query", {})
    assert (len(server.requests), server.connections) == (2, 2)
    client.close()
    idle.stolen.close()


class TakenMeanwhile(list[HTTPConnection]):
    """Idle connections; another thread takes the last one right after the check for emptiness."""

    def __init__(self, idle: list[HTTPConnection]) -> None:
        super().__init__(idle)
        self.stolen = idle[-1]

    def __bool__(self) -> bool:
        found = len(self) > 0
        self._steal()
        return found

    def pop(self, _index: SupportsIndex = -1) -> HTTPConnection:
        self._steal()
        return super().pop()

    def _steal(self) -> None:
        if self.stolen in self:
            self.remove(self.stolen)


async def test_a_refused_connection_is_an_outage() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        unused = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable):
            await AwsClient(DYNAMODB, environment={**KEYS, "AWS_ENDPOINT_URL": unused}).call("Query", {})


def test_endpoints_follow_the_environment() -> None:
    region = {"AWS_REGION": "eu-west-1"}
    assert endpoint_of(DYNAMODB, region).host == "dynamodb.eu-west-1.amazonaws.com"
    assert endpoint_of(DYNAMODB, {"AWS_ENDPOINT_URL": "http://localhost:4566"}).host_header == "localhost:4566"
    own = {"AWS_ENDPOINT_URL": "http://all:1", "AWS_ENDPOINT_URL_DYNAMODB": "http://one:2"}
    assert endpoint_of(DYNAMODB, own).host == "one"
    sockets = endpoint_of(SOCKETS, {"AWS_ENDPOINT_URL": "http://all:1"}, url="https://x.execute-api.example/prod")
    assert (sockets.host, sockets.path, sockets.host_header) == (
        "x.execute-api.example",
        "/prod",
        "x.execute-api.example",
    )


async def test_the_emulator_accepts_our_signatures_and_refuses_others(aws: Aws) -> None:
    made = aws.client(DYNAMODB)
    await made.call("ListTables", {})
    forged = AwsClient(DYNAMODB, environment={**aws.environment, "AWS_ACCESS_KEY_ID": "nobody"})
    with pytest.raises((Unavailable, AwsError)):
        await forged.call("ListTables", {})
    forged.close()
