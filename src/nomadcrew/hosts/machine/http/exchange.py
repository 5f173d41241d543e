"""One request of a connection: its head, and its body as far as it has arrived."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

# The application reads slower than the client sends: more than this is not read from the connection.
WAITING_BYTES = 64 * 1024


class Disconnected(Exception):
    """The client disconnected, so there is no reply."""


class Exchange:
    """A request, with a body that arrives while it is answered."""

    __slots__ = (
        "_complete", "_disconnected", "_on_wait", "_parts", "_waiting", "answered", "headers", "keeps_alive",
        "method", "path", "peer", "query", "waiting_bytes",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        peer: str,
        *,
        keeps_alive: bool = True,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """Path and query are as sent, with percent-escapes; header names are lower-case.

        `peer` is the address at the other end, empty on a Unix socket. `on_wait` is called when the application
        wants a part of the body that has not arrived.
        """
        self.method = method
        self.path = path
        self.query = query
        self.headers: Mapping[str, str] = headers
        self.peer = peer
        self.keeps_alive = keeps_alive
        self.answered = False
        self.waiting_bytes = 0
        self._parts: list[bytes] = []
        self._complete = False
        self._disconnected = False
        self._on_wait = on_wait
        self._waiting: asyncio.Future[None] | None = None

    def feed(self, part: bytes) -> None:
        """Add a part of the body."""
        self._parts.append(part)
        self.waiting_bytes += len(part)
        self._wake()

    def end(self) -> None:
        """The body is complete."""
        self._complete = True
        self._wake()

    def disconnect(self) -> None:
        """The client is gone, or its connection is about to end."""
        self._disconnected = True
        self._wake()

    @property
    def is_disconnected(self) -> bool:
        return self._disconnected

    def arrived(self) -> tuple[bytes, bool]:
        """The bytes of the body that have arrived since the last call, and whether they are the last.

        Raises:
            Disconnected: the client left before its body was complete.
        """
        if self._disconnected:
            raise Disconnected
        parts, self._parts = self._parts, []
        self.waiting_bytes = 0
        return (parts[0] if len(parts) == 1 else b"".join(parts)), self._complete

    async def more(self) -> None:
        """Wait until more of the body has arrived, or the client has left."""
        if self._parts or self._complete or self._disconnected:
            return
        self._on_wait()
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def joined_headers(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name; repeated ones are joined as API Gateway joins them."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
    if len(headers) == len(pairs):
        return headers
    headers.clear()
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        separator = "; " if name == "cookie" else ","
        headers[name] = f"{headers[name]}{separator}{value}" if name in headers else value
    return headers
