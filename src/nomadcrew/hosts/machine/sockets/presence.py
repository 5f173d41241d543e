"""Announces users who go online or offline, from the sockets of this host.

A user who reconnects within a grace period never went offline. Changes are announced and saved in batches, because
all users reconnect at once after a restart.
"""

import asyncio
import time
from collections.abc import Callable

from nomadcrew.adapters.postgres.presence import PostgresPresence
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import NewId, UserId
from nomadcrew.core.presence.model import GRACE_S
from nomadcrew.core.presence.service import announce
from nomadcrew.core.realtime import Broadcaster

ROUND_S = 0.5
BATCH = 200
# Users who stay online are saved as well, so that a killed host loses minutes of `last seen`, not hours.
STAYING_S = 600.0
# The hub counts a user's sockets; for presence they are one connection.
HERE = "here"


class PresenceAnnouncer:
    """Turns users' connections and disconnections into presence, events and rows."""

    def __init__(
        self,
        presence: PostgresPresence,
        broadcaster: Broadcaster,
        *,
        clock: Clock,
        new_id: NewId,
        on_change: Callable[[UserId, bool], None] = lambda _user_id, _online: None,
        grace_s: float = GRACE_S,
    ) -> None:
        """`on_change` is called when a user goes online or offline."""
        self._presence = presence
        self._live = broadcaster
        self._clock = clock
        self._new_id = new_id
        self._on_change = on_change
        self._grace_s = grace_s
        self._leaving: dict[UserId, asyncio.TimerHandle] = {}
        self._changed: dict[UserId, None] = {}

    def person(self, user_id: UserId, here: bool) -> None:
        """A user's first socket opened (`here`), or their last one closed."""
        self._presence.see(user_id, self._clock())
        if not here:
            loop = asyncio.get_running_loop()
            self._leaving[user_id] = loop.call_later(self._grace_s, self._offline, user_id)
        elif (leaving := self._leaving.pop(user_id, None)) is not None:
            leaving.cancel()
        else:
            self._presence.open(user_id, HERE)
            self._change(user_id, True)

    async def run(self, beat: Callable[[], None]) -> None:
        """Announce and save changes until cancelled.

        Raises:
            Unavailable: the database is down; no change is lost.
        """
        staying_since_s = time.monotonic()
        while True:
            beat()
            if time.monotonic() - staying_since_s >= STAYING_S:
                staying_since_s = time.monotonic()
                self._see_online()
            await self._presence.keep()
            while self._changed:
                await self._announce()
            await asyncio.sleep(ROUND_S)

    async def finish(self) -> None:
        """Save the online users' `last seen`, unless the database is down."""
        for leaving in self._leaving.values():
            leaving.cancel()
        self._see_online()
        try:
            await self._presence.keep()
        except Unavailable:
            return

    def _offline(self, user_id: UserId) -> None:
        del self._leaving[user_id]
        self._presence.close(user_id, HERE)
        self._change(user_id, False)

    def _change(self, user_id: UserId, online: bool) -> None:
        self._changed[user_id] = None
        self._on_change(user_id, online)

    def _see_online(self) -> None:
        now = self._clock()
        for user_id in self._presence.online():
            if user_id not in self._leaving:
                self._presence.see(user_id, now)

    async def _announce(self) -> None:
        batch = list(self._changed)[:BATCH]
        if self._live.has_listeners():
            await announce(
                batch,
                presence=self._presence,
                broadcast=self._live.broadcast,
                new_id=self._new_id,
                now=self._clock(),
            )
        for user_id in batch:
            self._changed.pop(user_id, None)
