"""Refuses the access tokens of sessions that ended before the host's start, or by a command beside it."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from nomadcrew.adapters.jwt.parse import SKEW_S
from nomadcrew.core.auth.model import ACCESS_LIFETIME
from nomadcrew.core.auth.ports import Tokens
from nomadcrew.core.clock import Clock
from nomadcrew.core.ids import SessionId

POLL_S = 1.0
# A transaction may commit this long after the time that it stored.
OVERLAP = timedelta(seconds=30)
# An access token is accepted until this long after its session's end.
_TOKEN_LIFE = ACCESS_LIFETIME + timedelta(seconds=2 * SKEW_S)


class SessionEnds(Protocol):
    async def ended_since(self, since: datetime) -> list[SessionId]: ...


class EndedSessions:
    """Reads the ends of sessions from the database and revokes their access tokens in every process."""

    def __init__(self, sessions: SessionEnds, tokens: Tokens, clock: Clock) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._clock = clock
        self._read_until: datetime | None = None
        self._known: dict[SessionId, datetime] = {}

    async def read(self) -> None:
        """Revoke what ended since the last call; at the first call, all whose access tokens may still be valid.

        Raises:
            Unavailable: the database is down; the next call reads the same again.
        """
        now = self._clock()
        since = now - _TOKEN_LIFE if self._read_until is None else self._read_until - OVERLAP
        for session_id in await self._sessions.ended_since(since):
            if session_id not in self._known:
                await self._tokens.revoke(session_id, now=now)
            self._known[session_id] = now
        self._read_until = now
        self._known = {id_: at for id_, at in self._known.items() if at > now - 2 * OVERLAP}

    async def watch(self, beat: Callable[[], None] = lambda: None) -> None:
        while True:
            beat()
            await self.read()
            await asyncio.sleep(POLL_S)
