"""A fake of Expo's push service on a local port, which records requests and simulates errors."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.local_service import serve

MAX_BATCH = 100
MAX_RECEIPTS = 1_000
GONE = "DeviceNotRegistered"
TOO_FAST = "MessageRateExceeded"
OK: dict[str, Any] = {"status": "ok"}


def failed(code: str) -> dict[str, Any]:
    return {"status": "error", "message": f"about {code}", "details": {"error": code}}


@dataclass
class Expo:
    """Recorded requests and configured replies."""

    url: str = ""
    requests: list[tuple[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    # Error statuses of the next replies.
    statuses: list[int] = field(default_factory=list)
    # Errors by token, and tokens of another project, which fail every request that contains them.
    errors: dict[str, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    # Receipts by ticket. Default: delivered; tickets in `early` have no receipt yet.
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    early: set[str] = field(default_factory=set)
    access_token: str | None = None
    delay_s: float = 0
    garbage: bytes | None = None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Every received message, failed ones included."""
        return [message for operation, body in self.requests if operation == "send" for message in body]

    @property
    def sends(self) -> list[int]:
        """The number of messages per call."""
        return [len(body) for operation, body in self.requests if operation == "send"]

    def reached(self) -> list[str]:
        return sorted(message["to"] for message in self.messages)

    def answer(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> tuple[int, bytes]:
        if method == "GET":  # for tests in another process
            return 200, json.dumps(self.messages).encode()
        operation, body = path.rpartition("/")[2], json.loads(raw)
        self.requests.append((operation, body))
        self.headers.append(headers)
        time.sleep(self.delay_s)
        if self.statuses:
            return self.statuses.pop(0), b'{"errors":[{"code":"OUT_OF_ORDER","message":"not now"}]}'
        if self.access_token is not None and headers.get("authorization") != f"Bearer {self.access_token}":
            return 401, b'{"errors":[{"code":"UNAUTHORIZED","message":"unauthorized"}]}'
        if self.garbage is not None:
            return 200, self.garbage
        status, reply = self._send(body) if operation == "send" else self._receipts(body["ids"])
        return status, json.dumps(reply).encode()

    def _send(self, messages: list[dict[str, Any]]) -> tuple[int, Any]:
        if len(messages) > MAX_BATCH:
            return 400, {"errors": [{"code": "PUSH_TOO_MANY_NOTIFICATIONS", "message": "too many"}]}
        if self.foreign & {message["to"] for message in messages}:
            return 400, {"errors": [{"code": "PUSH_TOO_MANY_EXPERIENCE_IDS", "message": "mixed projects"}]}
        return 200, {"data": [self._ticket(message["to"]) for message in messages]}

    def _ticket(self, token: str) -> dict[str, Any]:
        return failed(self.errors[token]) if token in self.errors else {**OK, "id": f"ticket of {token}"}

    def _receipts(self, ids: list[str]) -> tuple[int, Any]:
        if len(ids) > MAX_RECEIPTS:
            return 400, {"errors": [{"code": "PUSH_TOO_MANY_RECEIPTS", "message": "too many"}]}
        return 200, {"data": {id_: self.receipts.get(id_, OK) for id_ in ids if id_ not in self.early}}


@contextmanager
def expo() -> Iterator[Expo]:
    """Run the service during the block."""
    service = Expo()
    with serve(service.answer) as address:
        service.url = f"{address}/--/api/v2/push"
        yield service
