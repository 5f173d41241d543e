"""Open sockets of this process, and the queue in front of each.

A reader that is too slow is bounded by its queue and then closed with a code after which clients come back; it
never delays the others. Everything here runs on the event loop's thread.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from nomadcrew.core.ids import SessionId, TripId, UserId
from nomadcrew.wire.events import PONG
from nomadcrew.wire.sockets import CLOSE_TOO_SLOW, CLOSE_UNAUTHENTICATED

QUEUE_FRAMES = 256
# The client drops a socket after 60 s without a data frame; the ticker's own period comes on top.
IDLE_S = 30.0
TICK_S = 5.0


@dataclass(frozen=True, slots=True)
class Close:
    """The last thing a socket is told."""

    code: int
    reason: str


@dataclass(slots=True, eq=False)
class Socket:
    """One connection. `last_sent_s` and `expires_at` drive keepalive and the end of its token."""

    id: str
    user_id: UserId
    session_id: SessionId | None
    expires_at: datetime
    last_sent_s: float
    queue: asyncio.Queue[str | Close] = field(default_factory=lambda: asyncio.Queue(QUEUE_FRAMES + 1))
    muted: set[TripId] = field(default_factory=set)
    closing: bool = False

    def send(self, frame: str) -> bool:
        """Queue a frame; False, and the socket on its way out, if too many wait already."""
        if self.closing:
            return False
        if self.queue.qsize() >= QUEUE_FRAMES:
            self.close(CLOSE_TOO_SLOW, "too slow")
            return False
        self.queue.put_nowait(frame)
        return True

    def close(self, code: int, reason: str) -> None:
        """Close once nothing else; frames that wait are dropped, and recovered by whoever asks for events."""
        if self.closing:
            return
        self.closing = True
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(Close(code, reason))


class Hub:
    """The sockets of this process, by connection and by user; implements `Connections`."""

    def __init__(self) -> None:
        self._by_id: dict[str, Socket] = {}
        self._by_user: dict[UserId, set[Socket]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, socket: Socket) -> None:
        self._by_id[socket.id] = socket
        self._by_user.setdefault(socket.user_id, set()).add(socket)

    def remove(self, socket: Socket) -> None:
        self._by_id.pop(socket.id, None)
        theirs = self._by_user.get(socket.user_id)
        if theirs is not None:
            theirs.discard(socket)
            if not theirs:
                del self._by_user[socket.user_id]

    async def mute(self, connection_id: str, trip_id: TripId) -> bool:
        socket = self._by_id.get(connection_id)
        if socket is None or trip_id in socket.muted:
            return False
        socket.muted.add(trip_id)
        return True

    async def unmute(self, connection_id: str, trip_id: TripId) -> None:
        socket = self._by_id.get(connection_id)
        if socket is not None:
            socket.muted.discard(trip_id)

    def connected(self, user_ids: Iterable[UserId]) -> bool:
        """Whether any of these people has a socket here."""
        return any(user_id in self._by_user for user_id in user_ids)

    def deliver(self, frame: str, user_ids: Iterable[UserId], trip_id: TripId | None) -> int:
        """Queue one encoded frame on every socket of these people; returns on how many."""
        count = 0
        for user_id in user_ids:
            for socket in self._by_user.get(user_id, ()):
                if trip_id not in socket.muted:
                    count += socket.send(frame)
        return count

    def end_session(self, session_id: SessionId) -> None:
        """Close what a signed-out device left open."""
        for socket in list(self._by_id.values()):
            if socket.session_id == session_id:
                socket.close(CLOSE_UNAUTHENTICATED, "signed out")

    def close_all(self, code: int, reason: str) -> None:
        for socket in list(self._by_id.values()):
            socket.close(code, reason)

    def tick(self, *, now: datetime, monotonic_s: float) -> None:
        """Keep idle sockets alive and close those whose token has expired."""
        for socket in list(self._by_id.values()):
            if socket.expires_at <= now:
                socket.close(CLOSE_UNAUTHENTICATED, "token expired")
            elif monotonic_s - socket.last_sent_s >= IDLE_S and socket.queue.empty():
                socket.send(PONG)
