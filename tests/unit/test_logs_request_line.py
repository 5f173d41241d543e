"""The request line, which is written without a log record, equals the line of a record."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from nomadcrew import logs
from nomadcrew.logs import Answered

USER, TRIP = UUID("019a0000-0000-7000-8000-00000000000a"), UUID("019a0000-0000-7000-8000-00000000000f")
ALL_FIELDS = Answered("req-1", "GET /v1/trips/{id}", 403, 1.25, USER, TRIP, "not_trip_member")
FEW_FIELDS = Answered('a "quoted"\nid', "GET /health", 200, 0.1)


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class Listener(logging.Handler):
    """A foreign handler."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def untouched_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("nomadcrew", "uvicorn.error")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def parsed(text: str) -> dict[str, Any]:
    assert text.count("\n") == 1
    line: dict[str, Any] = json.loads(text)
    assert len(line.pop("timestamp")) == len("2026-07-01T12:00:00.000+00:00")
    return line


@pytest.mark.parametrize("answered", [ALL_FIELDS, FEW_FIELDS])
def test_the_line_equals_that_of_a_record(answered: Answered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", 'trips "north"')
    stream = io.StringIO()
    logs.set_up(stream=stream)
    logs.request(answered)
    written = stream.getvalue()
    stream.truncate(0)
    stream.seek(0)
    logging.getLogger("nomadcrew.request").info("request", extra=answered.extra)
    assert parsed(written) == parsed(stream.getvalue())
    assert list(json.loads(written)) == list(json.loads(stream.getvalue()))


def test_unknown_fields_are_omitted() -> None:
    assert FEW_FIELDS.extra["fields"].keys() == {"request_id", "route", "status", "duration_ms"}
    assert ALL_FIELDS.extra["fields"]["user_id"] == str(USER)


def test_lines_are_in_order() -> None:
    stream = io.StringIO()
    logs.set_up(stream=stream)
    logging.getLogger("nomadcrew.host").warning("before")
    logs.request(FEW_FIELDS)
    logging.getLogger("nomadcrew.host").warning("after")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == [
        "before",
        "request",
        "after",
    ]


def test_the_line_obeys_the_level() -> None:
    stream = io.StringIO()
    logs.set_up("WARNING", stream=stream)
    logs.request(ALL_FIELDS)
    assert stream.getvalue() == ""


def test_a_terminal_gets_columns() -> None:
    stream = Terminal()
    logs.set_up(stream=stream)
    logs.request(ALL_FIELDS)
    assert stream.getvalue().endswith("403     1.2 ms  GET /v1/trips/{id} not_trip_member\n")


@pytest.mark.parametrize("name", ["nomadcrew", "nomadcrew.request"])
def test_other_handlers_get_a_record(name: str) -> None:
    listener = Listener()
    stream = io.StringIO()
    logs.set_up(stream=stream)
    logging.getLogger(name).addHandler(listener)
    try:
        logs.request(ALL_FIELDS)
    finally:
        logging.getLogger(name).removeHandler(listener)
    assert [record.__dict__["fields"]["code"] for record in listener.records] == ["not_trip_member"]
    assert parsed(stream.getvalue())["code"] == "not_trip_member"


def test_a_full_disk_does_not_fail_the_request() -> None:
    logs.set_up(stream=FullDisk())
    logs.request(ALL_FIELDS)
