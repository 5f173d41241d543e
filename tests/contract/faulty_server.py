"""A faulty server in place of an AWS service."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1"}


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect before the reply."""


class FaultyServer:
    """Replies with `answers` in turn and repeats the last one; `requests` records all requests."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, Any], dict[str, str]]] = [(200, {}, {})]
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.silent_s = 0.0
        faulty_server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                faulty_server.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                faulty_server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                faulty_server.released.wait(faulty_server.silent_s)
                status, answer, headers = faulty_server.answers[0]
                if len(faulty_server.answers) > 1:
                    faulty_server.answers.pop(0)
                text = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return format_datetime(faulty_server.clock(), usegmt=True)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 — the base class's name
                pass

        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.released = threading.Event()
        self._server = _QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
