"""Fields of log lines in an invocation, and its metrics."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nomadcrew import logs
from nomadcrew.adapters.aws import telemetry
from nomadcrew.adapters.aws.telemetry import Invocations
from nomadcrew.core.errors import PermanentFailure, Unavailable
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import MAX_ATTEMPTS, Job
from nomadcrew.hosts.aws.http_event import lambda_entry
from nomadcrew.hosts.aws.sqs_event import queue_entry
from nomadcrew.logs import Answered
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Auth, Routes
from tests.fakes import fake_ports

LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "nomadcrew-dev-trip",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
    "POWERTOOLS_METRICS_NAMESPACE": "Crew",
    "POWERTOOLS_SERVICE_NAME": "trips",
    "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
}
TRACE = "1-5759e988-bd862e3fe1be46a994272793"
CALL = SimpleNamespace(aws_request_id="call-1", get_remaining_time_in_millis=lambda: 30_000)
FUNCTION = {"function_name": "nomadcrew-dev-trip", "function_memory_size": 512}
# Fields that telemetry adds to a line.
ADDED_FIELDS = (*FUNCTION, "cold_start", "function_request_id", "xray_trace_id")


@pytest.fixture(autouse=True)
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Captured log lines; logging is restored afterwards."""
    for name, value in LAMBDA.items():
        monkeypatch.setenv(name, value)
    logger = logging.getLogger("nomadcrew")
    before = (logger.handlers, logger.level, logger.propagate)
    text = io.StringIO()
    logs.set_up("DEBUG", stream=text)
    made: list[asyncio.AbstractEventLoop] = []
    new_event_loop = asyncio.new_event_loop

    def record_new_loop() -> asyncio.AbstractEventLoop:
        made.append(new_event_loop())
        return made[-1]

    # In Lambda, loops live as long as the process.
    monkeypatch.setattr(asyncio, "new_event_loop", record_new_loop)
    yield text
    for loop in made:
        loop.close()
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])
    logs.say_on_every_line({})


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def added_fields(line: dict[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in ADDED_FIELDS if name in line}


def test_every_line_identifies_function_and_invocation(stream: io.StringIO) -> None:
    calls = Invocations()
    logging.getLogger("nomadcrew.x").info("loaded")
    for number in (1, 2):
        with calls.of(SimpleNamespace(aws_request_id=f"call-{number}")):
            logging.getLogger("nomadcrew.x").info("working")
            logs.request(Answered("r", "GET /x", 200, 1.5))
    expected = [FUNCTION | {"cold_start": True}]
    for number, cold in ((1, True), (2, False)):
        fields = {"cold_start": cold, "function_request_id": f"call-{number}", "xray_trace_id": TRACE}
        expected += [FUNCTION | fields] * 2
    assert [added_fields(line) for line in lines(stream)] == expected
    assert lines(stream)[2]["route"] == "GET /x"


def test_a_request_line_has_the_fields_of_a_record(stream: io.StringIO) -> None:
    answered = Answered("r", "GET /x", 200, 1.5)
    with Invocations().of(CALL):
        logs.request(answered)
        logging.getLogger("nomadcrew.request").info("request", extra=answered.extra)
    quick, slow = (line | {"timestamp": ""} for line in lines(stream))
    assert quick == slow
    assert list(quick) == list(slow)


def test_provisioned_concurrency_is_not_a_cold_start(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "provisioned-concurrency")
    monkeypatch.delenv("_X_AMZN_TRACE_ID")
    with Invocations().of(None):
        logging.getLogger("nomadcrew.x").info("working")
    assert added_fields(lines(stream)[0]) == FUNCTION | {"cold_start": False}


def test_counts_are_one_line_in_embedded_metric_format(stream: io.StringIO) -> None:
    calls = Invocations()
    with calls.of(CALL):
        pass
    with calls.of(CALL):
        telemetry.count(telemetry.EVENTS_PUBLISHED, 2)
        telemetry.count(telemetry.EVENTS_PUBLISHED)
        telemetry.count(telemetry.JOBS_FAILED)
        telemetry.count(telemetry.UNAVAILABLE, 0)
    with calls.of(CALL):
        pass
    [line] = lines(stream)
    assert line["_aws"].pop("Timestamp") > 1_700_000_000_000
    assert line == {
        "_aws": {
            "CloudWatchMetrics": [
                {
                    "Namespace": "Crew",
                    "Dimensions": [["service"]],
                    "Metrics": [
                        {"Name": "EventsPublished", "Unit": "Count"},
                        {"Name": "JobsFailed", "Unit": "Count"},
                    ],
                }
            ]
        },
        "service": "trips",
        **FUNCTION,
        "cold_start": False,
        "function_request_id": "call-1",
        "xray_trace_id": TRACE,
        "EventsPublished": 3,
        "JobsFailed": 1,
    }


def test_a_failed_invocation_also_writes_its_counts(stream: io.StringIO) -> None:
    def fail() -> None:
        with Invocations().of(CALL):
            telemetry.count(telemetry.JOBS_FAILED)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert [line["JobsFailed"] for line in lines(stream)] == [1]


def test_outside_lambda_no_fields_are_added(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> None:
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME")
    with telemetry.invocations().of(CALL):
        telemetry.count(telemetry.JOBS_FAILED)
        logging.getLogger("nomadcrew.x").info("working")
    assert [added_fields(line) for line in lines(stream)] == [{}]


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (None, {}),
        (Unavailable(), {"Requests5xx": 1, "Unavailable": 1}),
        (KeyError("x"), {"Requests5xx": 1}),
    ],
)
def test_server_errors_are_counted(error: Exception | None, counts: dict[str, int], stream: io.StringIO) -> None:
    routes = Routes("x", ports=())

    @routes.get("/x", auth=Auth.PUBLIC, statements=0, why="a test route")
    async def answer(_call: Call) -> None:
        """Answer."""
        if error is not None:
            raise error

    def ports(_: tuple[str, ...]) -> Ports:
        return fake_ports()

    lambda_entry(routes, ports)({"routeKey": "GET /x", "requestContext": {}}, CALL)
    metrics = [line for line in lines(stream) if "_aws" in line]
    assert [{name: line[name] for name in counts} for line in metrics] == ([counts] if counts else [])


class FailureSink:
    """A queue that accepts failed jobs."""

    async def fail(self, _job: Job, _error: str, *, final: bool = False) -> None:
        """Ignore the failure."""


@pytest.mark.parametrize(
    ("attempt", "error", "counts"),
    [
        (1, Unavailable(), {"JobsFailed": 1}),
        (1, PermanentFailure("x"), {"JobsFailed": 1, "JobsBuried": 1}),
        (MAX_ATTEMPTS, Unavailable(), {"JobsFailed": 1, "JobsBuried": 1}),
    ],
)
def test_failed_jobs_are_counted(
    attempt: int, error: Exception, counts: dict[str, int], stream: io.StringIO
) -> None:
    async def work(_job: Job, _ports: Ports) -> None:
        raise error

    def ports(_: tuple[str, ...]) -> Ports:
        return fake_ports(queue=FailureSink())

    record = {
        "messageId": "019a0000-0000-7000-8000-000000000001",
        "receiptHandle": "r",
        "body": "{}",
        "attributes": {"ApproximateReceiveCount": str(attempt), "SentTimestamp": "0"},
        "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:queue",
    }
    queue_entry(work, ports, ("queue",))({"Records": [record]}, CALL)
    [metrics] = [line for line in lines(stream) if "_aws" in line]
    assert {name: metrics[name] for name in ("JobsFailed", "JobsBuried") if name in metrics} == counts
