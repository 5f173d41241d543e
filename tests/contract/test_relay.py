"""From the outbox to sockets and queues: what a relay delivers, in which order, and what an outage costs."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.outbox import PostgresEventLog, PostgresOutbox
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Audience, Event
from nomadcrew.core.ids import EventId, SessionId, TripId, UserId, uuid7
from nomadcrew.host.hub import Hub, Socket
from nomadcrew.host.metrics import Metrics
from nomadcrew.host.relay import Relay
from tests.contract.crew import Crew
from tests.engine import Engine
from tests.fakes import NOON, SetClock


class Listener:
    """Somebody's socket, read at once."""

    def __init__(self, hub: Hub, user_id: UserId) -> None:
        self.socket = Socket(str(uuid7()), user_id, SessionId(uuid7()), NOON + timedelta(hours=1), 0.0)
        hub.add(self.socket)

    @property
    def heard(self) -> list[UUID]:
        """The ids of the events it was sent since the last look."""
        ids = []
        while not self.socket.queue.empty():
            frame = self.socket.queue.get_nowait()
            assert isinstance(frame, str)
            ids.append(UUID(json.loads(frame)["payload"]["id"]))
        return ids


class Stage:
    """A relay on a crew's outbox, with a hub to listen at."""

    def __init__(self, crew: Crew, outbox: PostgresOutbox | None = None) -> None:
        self.crew = crew
        self.hub = Hub()
        self.rung = 0
        self.outbox = outbox or PostgresOutbox(crew.pool)
        self.relay = Relay(self.outbox, self.hub, clock=SetClock(), metrics=Metrics(), on_work=self._ring)

    def _ring(self) -> None:
        self.rung += 1


class Failing(PostgresOutbox):
    """An outbox whose database goes away: before it has kept what was published, or just after."""

    def __init__(self, pool: Database, *, kept: bool) -> None:
        super().__init__(pool)
        self._kept = kept
        self.failing = True

    async def publish(self, events: Sequence[Event], bodies: Sequence[str], *, now: datetime) -> None:
        if not self.failing:
            await super().publish(events, bodies, now=now)
            return
        if self._kept:
            # On a connection of its own, so that the loss of the relay's does not undo it.
            await asyncio.create_task(self._apart(events, bodies, now), context=_nothing_open())
        raise Unavailable

    async def _apart(self, events: Sequence[Event], bodies: Sequence[str], now: datetime) -> None:
        await super().publish(events, bodies, now=now)
