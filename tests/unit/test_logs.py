"""Log lines: JSON for programs, columns for terminals."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nomadcrew import logs
from nomadcrew.core.errors import Unavailable

FIELDS = {
    "request_id": "req-1",
    "route": "GET /v1/trips/{id}",
    "status": 200,
    "duration_ms": 1.25,
    "user_id": "u-1",
    "trip_id": "t-1",
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def untouched_loggers() -> Iterator[None]:
    """Restore the loggers that `set_up` changes."""
    loggers = [logging.getLogger(name) for name in ("nomadcrew", "uvicorn.error")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def logged(write: Callable[[logging.Logger], None], stream: io.StringIO, name: str = "nomadcrew.request") -> str:
    logs.set_up("DEBUG", stream=stream)
    write(logging.getLogger(name))
    return stream.getvalue()


def line(write: Callable[[logging.Logger], None]) -> dict[str, Any]:
    text = logged(write, io.StringIO())
    assert text.count("\n") == 1
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def fail(log: logging.Logger, level: int, error: Exception) -> None:
    try:
        raise error  # noqa: TRY301 — only a raised error has a traceback
    except Exception:
        log.log(level, "failed", extra={"fields": FIELDS}, exc_info=True)


def test_a_request_is_one_json_object() -> None:
    parsed = line(lambda log: log.info("request", extra={"fields": FIELDS}))
    timestamp = parsed.pop("timestamp")
    assert timestamp.endswith("+00:00")
    assert len(timestamp) == len("2026-07-01T12:00:00.000+00:00")
    assert parsed == {
        "level": "INFO",
        "message": "request",
        "service": "nomadcrew",
        "logger": "nomadcrew.request",
        **FIELDS,
    }


def test_the_service_has_the_name_set_for_powertools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "trips")
    assert line(lambda log: log.info("request"))["service"] == "trips"


def test_line_breaks_in_values_are_escaped() -> None:
    parsed = line(lambda log: log.info("a\nb", extra={"fields": {"route": 'x\n{"level":"FAKE"}'}}))
    assert (parsed["message"], parsed["level"]) == ("a\nb", "INFO")


def test_values_unknown_to_json_are_written_as_text() -> None:
    assert line(lambda log: log.info("x", extra={"fields": {"error": Unavailable}}))["error"].startswith("<class")


def test_an_outage_is_logged_by_type_without_its_text() -> None:
    text = logged(lambda log: fail(log, logging.WARNING, Unavailable("host db.internal secret")), io.StringIO())
    assert json.loads(text)["exception_name"] == "Unavailable"
    assert "secret" not in text


def test_a_bug_is_logged_with_its_traceback() -> None:
    parsed = line(lambda log: fail(log, logging.ERROR, KeyError("which key")))
    assert parsed["exception_name"] == "KeyError"
    assert parsed["exception"].startswith("Traceback")
    assert "which key" in parsed["exception"]


def test_a_terminal_shows_a_request_in_columns() -> None:
    text = logged(lambda log: log.info("request", extra={"fields": FIELDS}), Terminal())
    assert text[8:] == " INFO    200     1.2 ms  GET /v1/trips/{id}\n"


def test_a_terminal_shows_the_code_of_a_refusal() -> None:
    fields = {**FIELDS, "status": 403, "code": "not_trip_member"}
    text = logged(lambda log: log.info("request", extra={"fields": fields}), Terminal())
    assert text.endswith("403     1.2 ms  GET /v1/trips/{id} not_trip_member\n")


def test_a_terminal_shows_other_records_with_their_fields() -> None:
    text = logged(lambda log: log.warning("full", extra={"fields": {"queue": "email"}}), Terminal(), "nomadcrew.x")
    assert text[8:] == " WARNING full queue=email\n"


def test_a_terminal_shows_tracebacks_of_bugs_only() -> None:
    assert "Traceback" in logged(lambda log: fail(log, logging.ERROR, KeyError("k")), Terminal())
    assert "Traceback" not in logged(lambda log: fail(log, logging.WARNING, Unavailable("x")), Terminal())


def test_records_below_the_level_are_omitted() -> None:
    stream = io.StringIO()
    logs.set_up("WARNING", stream=stream)
    logging.getLogger("nomadcrew.request").info("request")
    assert stream.getvalue() == ""


def test_repeated_setup_writes_each_line_once() -> None:
    stream = io.StringIO()
    logs.set_up(stream=stream)
    logs.set_up(stream=stream)
    logging.getLogger("nomadcrew.request").info("request")
    assert stream.getvalue().count("\n") == 1
