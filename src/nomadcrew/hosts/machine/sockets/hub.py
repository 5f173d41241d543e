"""The open sockets of this process.

A slow reader is closed with a code on which clients reconnect; it never delays the others. Everything here runs on
the event loop's thread.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Set
from datetime import datetime

from nomadcrew.core.ids import SessionId, TripId, UserId
from nomadcrew.core.realtime import MAX_SOCKETS
from nomadcrew.hosts.machine.sockets.protocol import Outlet, text_frame
from nomadcrew.web.sockets import CLOSE_TOO_MANY, CLOSE_TOO_SLOW, CLOSE_UNAUTHENTICATED
from nomadcrew.wire.events import PONG

# The client drops a socket after 60 s without a data frame. Each socket has its own idle time, so that sockets that
# were opened together, or received the same event, are not all written to at once. A round of the ticker is added.
IDLE_S = (20.0, 30.0)
TICK_S = 1.0
TICKS_A_ROUND = 5
# Frames to hold until the greeting is sent, which needs one database query.
MAX_HELD = 256
# How long a device may take to answer a ping, and the interval of looks for it.
ANSWER_S = 2.0
ANSWER_POLL_S = 0.05

_PONG = text_frame(PONG)
_NONE: frozenset[TripId] = frozenset()


class Socket:
    """One connection. `last_sent_s` drives the keepalive; at `expires_at` its token expires."""

    __slots__ = (
        "_held", "_outlet", "closing", "expires_at", "id", "idle_s", "last_sent_s", "muted", "session_id",
        "user_id",
    )  # fmt: skip

    def __init__(
        self,
        id_: str,
        user_id: UserId,
        session_id: SessionId | None,
        expires_at: datetime,
        outlet: Outlet,
        *,
        now_s: float,
    ) -> None:
        self.id = id_
        self.user_id = user_id
        self.session_id = session_id
        self.expires_at = expires_at
        self.last_sent_s = now_s
        self.idle_s = random.uniform(*IDLE_S)  # noqa: S311 — spreads load, not a secret
        self.muted = _NONE
        self.closing = False
        # Frames that arrive before the greeting; None once it is sent.
        self._held: list[bytes] | None = []
        self._outlet = outlet
        outlet.on_slow = self._too_slow

    def greet(self, frame: str, *, now_s: float) -> None:
        """Send the first frame, then the held frames."""
        held, self._held = self._held, None
        for each in (text_frame(frame), *(held or ())):
            self.write(each, now_s=now_s)

    def write(self, frame: bytes, *, now_s: float) -> bool:
        """Send a frame made by `text_frame`; False if the socket is closing."""
        if self.closing:
            return False
        if self._held is not None:
            if len(self._held) >= MAX_HELD:
                self._too_slow()
                return False
            self._held.append(frame)
            return True
        self.last_sent_s = now_s
        self._outlet.write(frame)
        return True

    def send(self, frame: str) -> bool:
        return self.write(text_frame(frame), now_s=time.monotonic())

    def ping(self) -> None:
        self._outlet.ping()

    def heard_since(self, asked_s: float) -> bool:
        """True if the device has sent something since then, by the event loop's clock of whole milliseconds."""
        return self._outlet.heard_s() >= asked_s

    def close(self, code: int, reason: str) -> None:
        """Close the socket, once; the client fetches missed events from the stored ones."""
        if self.closing:
            return
        self.closing = True
        self._held = None
        self._outlet.end(code, reason)

    def _too_slow(self) -> None:
        self.close(CLOSE_TOO_SLOW, "too slow")


class Hub:
    """The sockets of this process, by connection and by user; implements `Connections` and `Delivery`."""

    def __init__(self, *, per_user: int = MAX_SOCKETS) -> None:
        """`per_user` is the maximum of open sockets of one user."""
        self._per_user = per_user
        # Called when a user's first socket here opens, and when their last one closes.
        self.on_person: Callable[[UserId, bool], None] = lambda _user_id, _here: None
        # Called with the users that were sent a member's position on a trip.
        self.on_shown: Callable[[TripId, UserId, Set[UserId]], None] = lambda _trip_id, _owner, _viewers: None
        self._by_id: dict[str, Socket] = {}
        self._by_user: dict[UserId, dict[Socket, None]] = {}  # oldest first
        self._rounds: list[set[Socket]] = [set() for _ in range(TICKS_A_ROUND)]
        self._turn = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, socket: Socket) -> None:
        self._by_id[socket.id] = socket
        self._round_of(socket).add(socket)
        sockets = self._by_user.get(socket.user_id)
        if sockets is None:
            self._by_user[socket.user_id] = {socket: None}
            self.on_person(socket.user_id, True)
            return
        sockets[socket] = None
        if len(sockets) > self._per_user:
            open_ = [each for each in sockets if not each.closing]
            # The oldest, which may be lost, rather than the one that the user has just opened.
            for each in open_[: -self._per_user]:
                each.close(CLOSE_TOO_MANY, "too many sockets")

    def remove(self, socket: Socket) -> None:
        self._by_id.pop(socket.id, None)
        self._round_of(socket).discard(socket)
        sockets = self._by_user.get(socket.user_id, {})
        if socket not in sockets:
            return
        del sockets[socket]
        if not sockets:
            del self._by_user[socket.user_id]
            self.on_person(socket.user_id, False)

    async def mute(self, connection_id: str, trip_id: TripId) -> bool:
        socket = self._by_id.get(connection_id)
        if socket is None or trip_id in socket.muted:
            return False
        socket.muted |= {trip_id}
        return True

    async def unmute(self, connection_id: str, trip_id: TripId) -> None:
        socket = self._by_id.get(connection_id)
        if socket is not None:
            socket.muted -= {trip_id}

    def connected(self, user_ids: Iterable[UserId]) -> bool:
        """True if any of these users has a socket here."""
        return any(user_id in self._by_user for user_id in user_ids)

    def deliver(
        self, frame: str, user_ids: Iterable[UserId], trip_id: TripId | None, shows: UserId | None = None
    ) -> int:
        """Send one encoded frame to all sockets of these users; returns the number of sockets."""
        count, now_s, ready = 0, time.monotonic(), text_frame(frame)
        reached: set[UserId] = set()
        for user_id in user_ids:
            before = count
            # A copy, because a socket that is closed for being slow may be removed at once.
            for socket in tuple(self._by_user.get(user_id, ())):
                if trip_id not in socket.muted:
                    count += socket.write(ready, now_s=now_s)
            if shows is not None and count > before:
                reached.add(user_id)
        if reached and shows is not None and trip_id is not None:
            self.on_shown(trip_id, shows, reached)
        return count

    async def awake(self, user_ids: Iterable[UserId], trip_id: TripId) -> frozenset[UserId]:
        """See `AwakeSockets`."""
        clock_s = asyncio.get_running_loop().time
        asked_s = clock_s()
        waiting = [
            socket
            for user_id in user_ids
            for socket in self._by_user.get(user_id, ())
            if not socket.closing and trip_id not in socket.muted
        ]
        for socket in waiting:
            socket.ping()
        answered: set[UserId] = set()
        while waiting and clock_s() < asked_s + ANSWER_S:
            await asyncio.sleep(ANSWER_POLL_S)
            answered |= {socket.user_id for socket in waiting if socket.heard_since(asked_s)}
            waiting = [socket for socket in waiting if socket.user_id not in answered]
        return frozenset(answered)

    def end_session(self, session_id: SessionId) -> None:
        """Close the sockets of a session that ended."""
        for socket in list(self._by_id.values()):
            if socket.session_id == session_id:
                socket.close(CLOSE_UNAUTHENTICATED, "signed out")

    def close_some(self, count: int, code: int, reason: str) -> int:
        """Close up to `count` open sockets; returns how many."""
        chosen = [socket for socket in self._by_id.values() if not socket.closing][:count]
        for socket in chosen:
            socket.close(code, reason)
        return len(chosen)

    def tick(self, *, now: datetime, monotonic_s: float) -> None:
        """Send keepalives and close sockets with expired tokens, for one of `TICKS_A_ROUND` groups per call."""
        for socket in tuple(self._rounds[self._turn]):
            if socket.expires_at <= now:
                socket.close(CLOSE_UNAUTHENTICATED, "token expired")
            elif monotonic_s - socket.last_sent_s >= socket.idle_s:
                socket.write(_PONG, now_s=monotonic_s)
        self._turn = (self._turn + 1) % TICKS_A_ROUND

    def _round_of(self, socket: Socket) -> set[Socket]:
        return self._rounds[hash(socket.id) % TICKS_A_ROUND]
