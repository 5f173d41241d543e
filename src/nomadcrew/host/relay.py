"""From the outbox to sockets and work queues.

Delivery comes before the mark that says so: what a crash leaves unmarked is delivered again, never lost.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from nomadcrew.adapters.postgres.outbox import PostgresOutbox
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import CONSUMERS, Audience, Event
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.host.hub import Hub
from nomadcrew.host.metrics import Metrics
from nomadcrew.wire.events import event_frame, pack

log = logging.getLogger("nomadcrew.relay")

BATCH = 200
SWEEP_S = 1.0
RETRY_S = 0.5


class Relay:
    """Publishes what was committed, at once when woken and every second in any case; implements `Outbox`."""

    def __init__(
        self, outbox: PostgresOutbox, hub: Hub, *, clock: Clock, metrics: Metrics, on_work: Callable[[], None]
    ) -> None:
        """`on_work` is told when work queues got something."""
        self._outbox = outbox
        self._hub = hub
        self._clock = clock
        self._metrics = metrics
        self._on_work = on_work
        self._rung = asyncio.Event()

    def wake(self) -> None:
        self._rung.set()

    async def run(self, beat: Callable[[], None]) -> None:
        """Relay until cancelled; an outage is waited out."""
        while True:
            beat()
            try:
                while await self.drain() == BATCH:
                    beat()
            except Unavailable as error:
                log.warning("events wait for the database", extra={"fields": {"reason": error.details}})
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await asyncio.wait_for(self._rung.wait(), SWEEP_S)
            except TimeoutError:
                continue
            self._rung.clear()

    async def drain(self) -> int:
        """Publish one batch; returns how many events it held.

        Raises:
            Unavailable: the database is away; nothing is marked.
        """
        async with self._outbox.sql.transaction():
            events = await self._outbox.pending(limit=BATCH)
            if not events:
                return 0
            members = await self._outbox.recipients(
                event.trip_id for event in events if event.audience == Audience.TRIP and event.trip_id
            )
            for event in events:
                self._deliver(event, members)
            bodies = [pack(event) if event.type in CONSUMERS else "" for event in events]
            await self._outbox.publish(events, bodies, now=self._clock())
        self._metrics.published(len(events))
        if any(bodies):
            self._on_work()
        return len(events)

    def _deliver(self, event: Event, members: Mapping[TripId, Sequence[UserId]]) -> None:
        people: set[UserId] = set()
        if event.audience == Audience.TRIP and event.trip_id is not None:
            people.update(members.get(event.trip_id, ()))
        if event.audience != Audience.INTERNAL and event.recipient_id is not None:
            people.add(event.recipient_id)
        if self._hub.connected(people):
            self._metrics.delivered(self._hub.deliver(event_frame(event), people, event.trip_id))
