"""A fake of Pexels on a local port: a photo in its shape, and every way to fail."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.local_service import serve

KEY = "a-key-of-pexels"
URL = "https://images.pexels.com/photos/1534560/pexels-photo-1534560.jpeg?auto=compress&fit=crop&h=627&w=1200"
PAGE = "https://www.pexels.com/photo/brown-concrete-houses-1534560/"
# As the service answers.
PHOTO: dict[str, Any] = {
    "id": 1534560, "width": 5184, "height": 3456, "url": PAGE, "photographer": "Nuno Sá", "photographer_id": 1,
    "photographer_url": "https://www.pexels.com/@nuno", "avg_color": "#978E82", "liked": False, "alt": "Houses",
    "src": {"original": "https://images.pexels.com/photos/1534560.jpeg", "landscape": URL},
}  # fmt: skip


@dataclass
class PexelsServer:
    """Recorded queries and configured failures: a status, or `garbage` or `silent` (no reply)."""

    url: str = ""
    queries: list[dict[str, str]] = field(default_factory=list)
    photos: list[dict[str, Any]] = field(default_factory=lambda: [PHOTO])
    failures: list[int | str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def answer(self, _method: str, path: str, headers: dict[str, str], _body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(path)
        self.queries.append({name: values[0] for name, values in parse_qs(parts.query).items()})
        failure = self.failures.pop(0) if self.failures else 200
        if failure == "silent":
            self.closing.wait(30)
        if failure == "garbage":
            return 200, b"<html>busy</html>"
        if parts.path != "/v1/search" or headers.get("authorization") != KEY:
            return 401, b'{"error":"unauthorized"}'
        body = json.dumps({"page": 1, "per_page": 1, "photos": self.photos, "total_results": 8000})
        return (failure if isinstance(failure, int) else 200), body.encode()


@contextmanager
def pexels() -> Iterator[PexelsServer]:
    """Run the service during the block."""
    service = PexelsServer()
    with serve(service.answer) as url:
        service.url = f"{url}/v1/search"
        try:
            yield service
        finally:
            service.closing.set()
