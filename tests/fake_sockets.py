"""Sockets without a network: they record frames and closes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from nomadcrew.core.ids import SessionId, UserId, uuid7
from nomadcrew.hosts.machine.sockets.hub import Socket
from nomadcrew.hosts.machine.sockets.protocol import text_frame
from tests.fakes import ANA, NOON

SESSION = SessionId(uuid7())


@dataclass(frozen=True)
class Close:
    """The close of a socket."""

    code: int
    reason: str


class RecordingOutlet:
    """`Outlet` that records frames; calls `on_close` at the close."""

    def __init__(self, on_close: Callable[[int], None] = lambda _: None) -> None:
        self.sent: list[str | Close] = []
        self.on_slow: Callable[[], None] = lambda: None
        self.on_close = on_close
        self.is_awake = False
        self._heard_s = -1.0

    def ping(self) -> None:
        if self.is_awake:
            self._heard_s = math.inf

    def heard_s(self) -> float:
        return self._heard_s

    def write(self, frame: bytes) -> None:
        text = frame[2:].decode() if frame[1] < 126 else frame[4:].decode()
        assert frame == text_frame(text)
        self.sent.append(text)

    def end(self, code: int, reason: str) -> None:
        self.sent.append(Close(code, reason))
        self.on_close(code)

    def take(self) -> list[str | Close]:
        """The frames and closes since the last call."""
        items, self.sent[:] = list(self.sent), []
        return items


class FakeSocket:
    """A greeted socket and its recorded frames."""

    def __init__(
        self, user_id: UserId = ANA, *, lives_s: float = 900, session_id: SessionId = SESSION, greeted: bool = True
    ) -> None:
        self.outlet = RecordingOutlet()
        self.socket = Socket(
            str(uuid7()), user_id, session_id, NOON + timedelta(seconds=lives_s), self.outlet, now_s=0.0
        )
        if greeted:
            self.socket.greet("hello", now_s=0.0)
            self.outlet.take()

    def received(self) -> list[str | Close]:
        """The frames and closes since the last call."""
        return self.outlet.take()
