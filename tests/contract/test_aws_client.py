"""Calls to AWS: what is tried again, what becomes an outage, what is a refusal; on a server that misbehaves."""

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
from tests.contract.wayward import KEYS, Wayward
from tests.emulator import Aws


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wayward]:
    monkeypatch.setattr(client_module, "BACKOFF_S", 0.001)
    made = Wayward()
    yield made
    made.close()


@pytest.fixture
def client(server: Wayward) -> Iterator[AwsClient]:
    made = AwsClient(DYNAMODB, environment={**KEYS, "AWS_ENDPOINT_URL": server.url})
    yield made
    made.close()


async def test_a_call_names_its_operation_and_is_signed(server: Wayward, client: AwsClient) -> None:
    server.answers = [(200, {"Count": 1}, {})]
    assert await client.call("Query", {"TableName": "t"}) == {"Count": 1}
    [(path, headers, body)] = server.requests
    assert (path, json.loads(body)) == ("/", {"TableName": "t"})
    assert headers["x-amz-target"] == "DynamoDB_20120810.Query"
    assert headers["content-type"] == "application/x-amz-json-1.0"
    assert "Credential=key/" in headers["authorization"]


async def test_what_anybody_may_ask_is_not_signed(server: Wayward) -> None:
    anybody = AwsClient(DYNAMODB, environment={"AWS_ENDPOINT_URL": server.url})
    await anybody.call("SignUp", {}, signed=False)
    [(_, headers, _)] = server.requests
    assert "authorization" not in headers
    anybody.close()


async def test_one_connection_serves_calls_in_a_row(server: Wayward, client: AwsClient) -> None:
    for _ in range(5):
        await client.call("Query", {})
    assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "ThrottlingException"), (429, "LimitExceededException"), (500, "InternalServerError")],
)
async def test_what_passes_is_tried_again(server: Wayward, client: AwsClient, status: int, code: str) -> None:
    server.answers = [(status, {"__type": f"com.amazonaws#{code}"}, {})] * 2 + [(200, {"ok": True}, {})]
    assert await client.call("Query", {}) == {"ok": True}
    assert len(server.requests) == 3


async def test_what_does_not_pass_in_three_attempts_is_an_outage(server: Wayward, client: AwsClient) -> None:
    server.answers = [(400, {"__type": "ThrottlingException"}, {})]
    with pytest.raises(Unavailable) as outage:
        await client.call("Query", {})
    assert outage.value.details == "dynamodb: ThrottlingException"
    assert len(server.requests) == 3


async def test_a_refusal_is_not_repeated_and_keeps_its_name(server: Wayward, client: AwsClient) -> None:
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
async def test_expired_credentials_are_an_outage_at_once(server: Wayward, client: AwsClient, code: str) -> None:
    server.answers = [(400, {"__type": code}, {})]
    with pytest.raises(Unavailable):
        await client.call("Query", {})
    assert len(server.requests) == 1


async def test_no_credentials_are_an_outage(server: Wayward) -> None:
    with pytest.raises(Unavailable, match="unavailable"):
        await AwsClient(DYNAMODB, environment={"AWS_ENDPOINT_URL": server.url}).call("Query", {})


async def test_a_wrong_clock_is_corrected_from_the_answer(server: Wayward, client: AwsClient) -> None:
    ahead = timedelta(hours=3)
    server.clock = lambda: datetime.now(UTC) + ahead
    server.answers = [(403, {"__type": "InvalidSignatureException"}, {}), (200, {}, {})]
    await client.call("Query", {})
    stamps = [datetime.strptime(h["x-amz-date"], "%Y%m%dT%H%M%S%z") for _, h, _ in server.requests]
    assert abs(stamps[1] - stamps[0] - ahead) < timedelta(minutes=1)


async def test_a_wrong_signature_with_a_right_clock_is_an_outage(server: Wayward, client: AwsClient) -> None:
    server.answers = [(403, {"__type": "InvalidSignatureException"}, {})]
    with pytest.raises(Unavailable):
        await client.call("Query", {})
    assert len(server.requests) == 1


async def test_silence_is_an_outage_and_only_what_may_be_repeated_is(server: Wayward, client: AwsClient) -> None:
    server.silent_s = 5.0
    with pytest.raises(Unavailable):
        await client.call("Query", {}, timeout_s=0.05)
    with pytest.raises(Unavailable):
        await client.call("Execute", {}, timeout_s=0.05, repeatable=False)
    assert len(server.requests) == 3 + 1


async def test_a_connection_the_server_ended_is_noticed_before_it_is_used(server: Wayward) -> None:
    client = AwsClient(RDS_DATA, environment={**KEYS, "AWS_ENDPOINT_URL": server.url})
    await client.request("POST", "/Execute", {}, repeatable=False)
    kept = client._idle[0]
    assert kept.sock is not None
    server.answers = [(200, {}, {"connection": "close"})]
    await client.request("POST", "/Execute", {}, repeatable=False)
    await client.request("POST", "/Execute", {}, repeatable=False)
    assert server.connections == 2
    client.close()


async def test_the_last_connection_that_was_kept_is_wanted_by_two_threads(
    server: Wayward, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = AwsClient(DYNAMODB, environment={**KEYS, "AWS_ENDPOINT_URL": server.url})
    await client.call("Query", {})
    kept = TakenMeanwhile(client._idle)
    monkeypatch.setattr(client, "_idle", kept)
    await client.call("Query", {})
    assert (len(server.requests), server.connections) == (2, 2)
    client.close()
    kept.theirs.close()


class TakenMeanwhile(list[HTTPConnection]):
    """Connections of which another thread takes the last one just after somebody has looked."""

    def __init__(self, kept: list[HTTPConnection]) -> None:
        super().__init__(kept)
        self.theirs = kept[-1]

    def __bool__(self) -> bool:
        found = len(self) > 0
        self._taken()
        return found

    def pop(self, _place: SupportsIndex = -1) -> HTTPConnection:
        self._taken()
        return super().pop()

    def _taken(self) -> None:
        if self.theirs in self:
            self.remove(self.theirs)


async def test_nobody_at_the_address_is_an_outage() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable):
            await AwsClient(DYNAMODB, environment={**KEYS, "AWS_ENDPOINT_URL": nowhere}).call("Query", {})


def test_a_service_is_where_the_environment_says() -> None:
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


async def test_the_emulator_takes_our_signatures_and_no_others(aws: Aws) -> None:
    made = aws.client(DYNAMODB)
    await made.call("ListTables", {})
    forged = AwsClient(DYNAMODB, environment={**aws.environment, "AWS_ACCESS_KEY_ID": "nobody"})
    with pytest.raises((Unavailable, AwsError)):
        await forged.call("ListTables", {})
    forged.close()
