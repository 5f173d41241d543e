"""The services that a function calls for its first request, as one small server.

They are the Data API on a real PostgreSQL, an empty table, and a secret. Their cost is the same for every stack,
and lower than that of a complete AWS emulator.
"""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rehearsal.data_api import DataApi

ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "DynamoDB_20120810.GetItem": {},
    "DynamoDB_20120810.PutItem": {},
    "secretsmanager.GetSecretValue": {"SecretString": json.dumps({"key": "k" * 64})},
}


@contextmanager
def services(connect: Mapping[str, Any]) -> Iterator[str]:
    """Serve on a free port; `connect` has `asyncpg.connect`'s arguments for the database. Yields the URL."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    api = DataApi(lambda _resource, _secret: dict(connect))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            target = self.headers.get("x-amz-target", "")
            if target in ANSWERS:
                status, answer = 200, json.dumps(ANSWERS[target]).encode()
            else:
                request = api.handle_request("POST", self.path, {}, body, {})
                status, _, answer = asyncio.run_coroutine_threadsafe(request, loop).result()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 — required by the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        loop.call_soon_threadsafe(loop.stop)
