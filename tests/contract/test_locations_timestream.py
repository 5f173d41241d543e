"""History in Timestream, which no emulator has: requests are validated against AWS's service model, and replies of
the documented form come from a local server."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import botocore.session
import pytest_asyncio
from botocore.validate import ParamValidator

from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.adapters.aws.sdk.services import TIMESTREAM_QUERY, TIMESTREAM_WRITE, Service
from nomadcrew.adapters.aws.timestream import Cells, TimestreamLocationHistory
from nomadcrew.core.ids import TripId, UserId, uuid7
from nomadcrew.core.locations.model import Privacy, StoredPoint
from tests.contract.fake_gateway import KEYS
from tests.fakes import NOON, SetClock

MODELS = {"WriteRecords": "timestream-write", "Query": "timestream-query", "DescribeEndpoints": "timestream-write"}
TRIP, ANA = TripId(uuid7()), UserId(uuid7())
POINT = StoredPoint(41.15, -8.61, NOON, NOON + timedelta(seconds=2), Privacy.APPROXIMATE, 5.0)


@dataclass
class Timestream:
    """A fake of the used part of Timestream: records requests and returns `pages`."""

    url: str = ""
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    refusal: dict[str, Any] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n"))
                }
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                assert "/timestream/aws4_request" in headers["authorization"]
                status, answer = self._answer(headers["x-amz-target"].removeprefix("Timestream_20181101."), body)
                text = json.dumps(answer).encode()
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        model = botocore.session.Session().get_service_model(MODELS[operation]).operation_model(operation)
        assert model.input_shape is not None
        report = ParamValidator().validate(body, model.input_shape)
        assert not report.has_errors(), report.generate_report()
        self.requests.append((operation, body))
        if operation == "DescribeEndpoints":
            return 200, {"Endpoints": [{"Address": "cell1.timestream.test", "CachePeriodInMinutes": 1440}]}
        if operation == "Query":
            return 200, self.pages.pop(0)
        if self.refusal is not None:
            return 419, self.refusal
        return 200, {"RecordsIngested": {"Total": len(body["Records"]), "MemoryStore": 1, "MagneticStore": 0}}


class TimestreamScenario:
    def __init__(self, service: Timestream) -> None:
        self.service = service
        self.clock = SetClock()
        self.addresses: list[str] = []
        self.clients: list[AwsClient] = []
        self.history = TimestreamLocationHistory(
            self._cells(TIMESTREAM_WRITE), self._cells(TIMESTREAM_QUERY), database="journeys", table="points"
        )

    def _cells(self, service: Service) -> Cells:
        def client(address: str) -> AwsClient:
            self.addresses.append(address)
            self.clients.append(AwsClient(service, url=self.service.url, environment=KEYS))
            return self.clients[-1]

        return Cells(client("discovery"), client, self.clock)

    def requests(self, operation: str) -> list[dict[str, Any]]:
        return [body for name, body in self.service.requests if name == operation]


@pytest_asyncio.fixture(loop_scope="session")
async def scenario() -> AsyncIterator[TimestreamScenario]:
    service = Timestream()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    made = TimestreamScenario(service)
    yield made
    for client in made.clients:
        client.close()
    server.close()
    await server.wait_closed()


async def test_points_are_multi_measure_records_and_at_most_a_hundred_per_call(
    scenario: TimestreamScenario,
) -> None:
    points = [replace(POINT, recorded_at=NOON + timedelta(seconds=n), is_jump=n == 1) for n in range(101)]
    await scenario.history.store([(TRIP, ANA, point) for point in points])
    first, second = scenario.requests("WriteRecords")
    assert (len(first["Records"]), len(second["Records"])) == (100, 1)
    assert (first["DatabaseName"], first["TableName"]) == ("journeys", "points")
    assert first["CommonAttributes"] == {
        "MeasureName": "position", "MeasureValueType": "MULTI", "TimeUnit": "MICROSECONDS"
    }  # fmt: skip
    record = first["Records"][0]
    assert record["Time"] == str(int(NOON.timestamp()) * 1_000_000)
    assert {one["Name"]: one["Value"] for one in record["Dimensions"]} == {
        "trip_id": str(TRIP),
        "user_id": str(ANA),
    }
    assert {one["Name"]: (one["Value"], one["Type"]) for one in record["MeasureValues"]} == {
        "latitude": ("41.15", "DOUBLE"), "longitude": ("-8.61", "DOUBLE"), "accuracy_m": ("5.0", "DOUBLE"),
        "received": (str((int(NOON.timestamp()) + 2) * 1_000_000), "BIGINT"), "privacy": ("approximate", "VARCHAR"),
        "is_jump": ("false", "BOOLEAN"),
    }  # fmt: skip
    assert first["Records"][1]["MeasureValues"][4]["Value"] == "true"


async def test_the_endpoint_is_discovered_once_a_day(scenario: TimestreamScenario) -> None:
    for _ in range(2):
        await scenario.history.store([(TRIP, ANA, POINT)])
    assert scenario.addresses == ["discovery", "discovery", "cell1.timestream.test"]
    scenario.clock.advance(86_400)
    await scenario.history.store([(TRIP, ANA, POINT)])
    assert len(scenario.requests("DescribeEndpoints")) == 2


async def test_rejected_records_do_not_block_the_others(scenario: TimestreamScenario) -> None:
    scenario.service.refusal = {
        "__type": "com.amazonaws.timestream.v20181101#RejectedRecordsException",
        "Message": "One or more records have been rejected. See RejectedRecords for details.",
        "RejectedRecords": [{"RecordIndex": 0, "Reason": "The record timestamp is outside the time range."}],
    }
    await scenario.history.store([(TRIP, ANA, POINT)] * 101)
    assert len(scenario.requests("WriteRecords")) == 2


def a_row(time: str, accuracy: str | None) -> dict[str, Any]:
    received = str((int(NOON.timestamp()) + 2) * 1_000_000)
    values = [time, "41.15", "-8.61", received, "approximate"]
    measured = [{"NullValue": True} if accuracy is None else {"ScalarValue": accuracy}, *[{"NullValue": True}] * 2]
    return {"Data": [*({"ScalarValue": value} for value in values), *measured]}


async def test_a_track_is_read_page_by_page(scenario: TimestreamScenario) -> None:
    query_status = {"QueryId": "AEBQ", "QueryStatus": {"ProgressPercentage": 100.0}}
    scenario.service.pages = [
        {**query_status, "NextToken": "more", "Rows": [a_row("2026-07-01 12:00:00.000000000", "5.0")]},
        {**query_status, "Rows": [a_row("2026-07-01 12:00:01.500000000", None)]},
    ]
    found = await scenario.history.track(TRIP, ANA, start=NOON, end=NOON + timedelta(hours=1))
    later = replace(POINT, recorded_at=NOON + timedelta(seconds=1.5), accuracy_m=None)
    assert list(found) == [POINT, later]
    first, second = scenario.requests("Query")
    assert second == first | {"NextToken": "more"}
    start_ns = int(NOON.timestamp()) * 10**9
    assert first["QueryString"] == (
        "SELECT time, latitude, longitude, received, privacy, accuracy_m, speed_mps, heading_deg"
        ' FROM "journeys"."points" WHERE measure_name = \'position\''
        f" AND trip_id = '{TRIP}' AND user_id = '{ANA}' AND NOT is_jump"
        f" AND time >= from_nanoseconds({start_ns}) AND time < from_nanoseconds({start_ns + 3_600 * 10**9})"
        " ORDER BY time"
    )
