"""One JSON line per record, in the schema of Powertools; readable columns on a terminal.

Records carry `extra={"fields": {...}}`. Never log a token, an email address, a message text or a coordinate.

Every line is one write, made before the logging call returns, so a killed process loses no line.
"""

import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO
from uuid import UUID

import msgspec

from nomadcrew.core.errors import Unavailable

# Fields of every line, in Lambda those of the invocation; the text is the same as the middle of a JSON object.
_common: dict[str, Any] = {}
_common_text = ""

_encode = msgspec.json.Encoder(enc_hook=str).encode
_package = logging.getLogger("nomadcrew")
_requests = logging.getLogger("nomadcrew.request")


class Answered(msgspec.Struct, omit_defaults=True):
    """The fields of a request's line; `code` is set for refusals."""

    request_id: str
    route: str
    status: int
    duration_ms: float
    user_id: UUID | None = None
    trip_id: UUID | None = None
    code: str | None = None

    @property
    def extra(self) -> dict[str, dict[str, Any]]:
        """The `extra` argument of a logging call, without unset fields."""
        return {"fields": msgspec.to_builtins(self)}


class JsonLines(logging.Formatter):
    """Formats a record as a JSON line."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "level": record.levelname,
            "message": record.getMessage(),
            "timestamp": _iso(record.created),
            "service": self._service,
            "logger": record.name,
            **_common,
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception_name"] = record.exc_info[0].__name__
            if isinstance(record.exc_info[1], Unavailable):
                line["reason"] = record.exc_info[1].details
            if record.levelno >= logging.ERROR:
                line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return _encode(line).decode()


class JsonHandler(logging.StreamHandler[TextIO]):
    """Writes JSON lines. Request lines are written without a log record, which would cost three times as much."""

    def __init__(self, stream: TextIO, service: str) -> None:
        super().__init__(stream)
        self.setFormatter(JsonLines(service))
        self._before = '{"level":"INFO","message":"request","timestamp":"'
        self._after = f'","service":{_encode(service).decode()},"logger":"{_requests.name}",'

    def write(self, answered: Answered) -> None:
        """Write the line that `JsonLines` would format for a record of `nomadcrew.request`."""
        now = _iso(time.time())
        self.write_line(f"{self._before}{now}{self._after}{_common_text}{_encode(answered).decode()[1:]}\n")

    def write_line(self, line: str) -> None:
        """Write a line that is JSON already."""
        self.acquire()
        try:
            self.stream.write(line)
            self.stream.flush()
        except (OSError, ValueError):
            return  # a full disk or a closed pipe must not fail the request; `logging` ignores it too
        finally:
            self.release()


class Columns(logging.Formatter):
    """Formats a record as readable columns."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = dict(getattr(record, "fields", {}))
        if record.name == "nomadcrew.request" and {"route", "status", "duration_ms"} <= fields.keys():
            took_ms, code = fields["duration_ms"], fields.get("code", "")
            text = f"{fields['status']} {took_ms:>7.1f} ms  {fields['route']} {code}"
        else:
            extras = " ".join(f"{key}={value}" for key, value in fields.items())
            text = f"{record.getMessage()} {extras}"
        line = f"{at} {record.levelname:<7} {text.rstrip()}"
        if record.exc_info and record.levelno >= logging.ERROR:
            line += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return line


def request(answered: Answered) -> None:
    """Log an answered request at INFO, to `nomadcrew.request`.

    If that logger has its own handlers, they get a log record.
    """
    if not _requests.isEnabledFor(logging.INFO):
        return
    handlers = _package.handlers
    if len(handlers) == 1 and isinstance(handlers[0], JsonHandler) and not _requests.handlers:
        handlers[0].write(answered)
    else:
        _requests.info("request", extra=answered.extra)


def say_on_every_line(fields: Mapping[str, Any]) -> None:
    """Replace the fields that are added to every JSON line."""
    global _common, _common_text  # noqa: PLW0603 — one per process, as the log is
    _common = dict(fields)
    _common_text = f"{_encode(_common).decode()[1:-1]}," if fields else ""


def line(value: Mapping[str, Any]) -> None:
    """Write a JSON line that is not a log record; on a terminal, write nothing."""
    for handler in _package.handlers:
        if isinstance(handler, JsonHandler):
            handler.write_line(f"{_encode(value).decode()}\n")


def set_up(level: str = "INFO", *, stream: TextIO | None = None) -> None:
    """Send the package's records to `stream` (default: stderr), as columns on a terminal and as JSON elsewhere."""
    stream = stream or sys.stderr
    handler: logging.StreamHandler[TextIO]
    if stream.isatty():
        handler = logging.StreamHandler(stream)
        handler.setFormatter(Columns())
    else:
        handler = JsonHandler(stream, os.environ.get("POWERTOOLS_SERVICE_NAME", "nomadcrew"))
    for name in ("nomadcrew", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level if name == "nomadcrew" else "WARNING")
        logger.propagate = False


def _iso(unix_s: float) -> str:
    whole_s = int(unix_s)
    return f"{_second(whole_s)}.{int((unix_s - whole_s) * 1000):03d}+00:00"


@lru_cache(maxsize=1)
def _second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
