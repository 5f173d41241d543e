"""A fake of Open-Meteo on a local port: answers in its shape, and every way to fail."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

# As the service answers, for one day; the others follow.
CURRENT: dict[str, Any] = {
    "time": "2026-11-22T12:00", "interval": 900, "temperature_2m": 14.3, "relative_humidity_2m": 81,
    "apparent_temperature": 13.1, "is_day": 1, "precipitation": 0.4, "rain": 0.3, "showers": 0.1, "snowfall": 0.0,
    "weather_code": 61, "cloud_cover": 92, "pressure_msl": 1013.2, "surface_pressure": 1001.9,
    "wind_speed_10m": 4.12, "wind_direction_10m": 238, "wind_gusts_10m": 9.8,
}  # fmt: skip
DAILY: dict[str, Any] = {
    "weather_code": 61, "temperature_2m_max": 16.2, "temperature_2m_min": 9.4, "precipitation_sum": 3.1,
    "precipitation_probability_max": 88, "wind_speed_10m_max": 7.7,
}  # fmt: skip


@dataclass
class OpenMeteoServer:
    """Recorded queries and configured failures.

    `failure` is a status, or `garbage`, `half` (the connection ends within the body), `silent` (no reply),
    `trickle` (the body never ends), `empty` (another shape) or `` (none).
    """

    url: str = ""
    queries: list[dict[str, str]] = field(default_factory=list)
    current: dict[str, Any] = field(default_factory=lambda: dict(CURRENT))
    daily: dict[str, Any] = field(default_factory=lambda: dict(DAILY))
    first_day: date = field(default_factory=lambda: datetime.now(UTC).date())
    failure: int | str = ""
    # The requests wait until it is set.
    gate: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)

    def body(self, query: dict[str, str]) -> bytes:
        days = [self.first_day + timedelta(days=n) for n in range(int(query["forecast_days"]))]
        daily: dict[str, list[Any]] = {name: [value] * len(days) for name, value in self.daily.items()}
        daily["time"] = [day.isoformat() for day in days]
        daily["sunrise"] = [f"{day}T07:31" for day in days]
        daily["sunset"] = [f"{day}T17:08" for day in days]
        return json.dumps(
            {
                "latitude": 41.125, "longitude": -8.625, "generationtime_ms": 0.2, "utc_offset_seconds": 0,
                "timezone": query["timezone"], "timezone_abbreviation": "WET", "elevation": 104.0,
                "current_units": {"temperature_2m": "°C"}, "current": self.current,
                "daily_units": {"temperature_2m_max": "°C"}, "daily": daily,
            }
        ).encode()  # fmt: skip


@contextmanager
def open_meteo() -> Iterator[OpenMeteoServer]:
    """Run the service during the block."""
    service = OpenMeteoServer()
    service.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            service.queries.append(query)
            service.gate.wait(30)
            with suppress(OSError):  # the client has disconnected
                self.reply(query)

        def reply(self, query: dict[str, str]) -> None:
            failure = service.failure
            if failure == "silent":
                service.closing.wait(30)
                return
            status = failure if isinstance(failure, int) else 200
            bodies = {"garbage": b"<html>busy</html>", "empty": b'{"current":{},"daily":{}}'}
            body = bodies.get(str(failure), service.body(query))
            if status != 200:
                body = b'{"error":true,"reason":"Minutely API request limit exceeded."}'
            self.send_response(status)
            self.send_header("content-type", "application/json")
            if failure == "trickle":
                self.end_headers()
                while not service.closing.wait(0.02):
                    self.wfile.write(b" ")
                return
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if failure == "half" else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}/v1/forecast"
    try:
        yield service
    finally:
        service.gate.set()
        service.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
