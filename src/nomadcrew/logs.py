"""One JSON line per record, in the schema of Powertools; readable columns on a terminal.

Records carry `extra={"fields": {...}}`. Never a token, an address, a message text or a coordinate.
"""

import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

_encode = msgspec.json.Encoder(enc_hook=str).encode


class JsonLines(logging.Formatter):
    """A line for machines."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "level": record.levelname,
            "message": record.getMessage(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "service": self._service,
            "logger": record.name,
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception_name"] = record.exc_info[0].__name__
            if record.levelno >= logging.ERROR:
                line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return _encode(line).decode()


class Columns(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = dict(getattr(record, "fields", {}))
        if record.name == "nomadcrew.request" and {"route", "status", "duration_ms"} <= fields.keys():
            text = f"{fields['status']} {fields['route']} {fields['duration_ms']:.1f} ms {fields.get('code', '')}"
        else:
            extras = " ".join(f"{key}={value}" for key, value in fields.items())
            text = f"{record.getMessage()} {extras}"
        line = f"{when} {record.levelname:<7} {text.rstrip()}"
        if record.exc_info and record.levelno >= logging.ERROR:
            line += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return line


def set_up(level: str = "INFO", *, stream: TextIO | None = None) -> None:
    """Send the package's records to `stream` (stderr), as columns on a terminal and JSON elsewhere."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    service = os.environ.get("POWERTOOLS_SERVICE_NAME", "nomadcrew")
    handler.setFormatter(Columns() if stream.isatty() else JsonLines(service))
    for name in ("nomadcrew", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level if name == "nomadcrew" else "WARNING")
        logger.propagate = False
