"""From the outbox to sockets and work queues.

An event gets its place in the record before anybody hears of it: a client continues from the last event it heard,
and others placed before that one would never reach it. Sockets cannot miss what is placed and not yet delivered, as
they end with this process, and whoever comes back asks the record.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from nomadcrew.adapters.postgres.outbox import PostgresOutbox
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Audience, Event, listeners
from nomadcrew.core.ids import EventId, TripId, UserId
from nomadcrew.hosts.machine.http.metrics import Metrics
from nomadcrew.hosts.machine.sockets.broadcast import Delivery
from nomadcrew.wire.events import event_frame, pack

log = logging.getLogger("nomadcrew.relay")

BATCH = 200
SWEEP_S = 1.0
RETRY_S = 0.5


class Relay:
    """Publishes what was committed, at once when told and every second in any case; implements `Outbox`."""

    def __init__(
        self,
        outbox: PostgresOutbox,
        sockets: Delivery,
        *,
        clock: Clock,
        metrics: Metrics,
        on_work: Callable[[Iterable[str]], None],
        on_event: Callable[[Event], None] = lambda _event: None,
    ) -> None:
        """`on_work` is told which work queues got something, `on_event` of each event before sockets are."""
        self._outbox = outbox
        self._sockets = sockets
        self._clock = clock
        self._metrics = metrics
        self._on_work = on_work
        self._on_event = on_event
        self._rung = asyncio.Event()
        # What was being published when the database went away; whether it was, the database will say.
        self._unsure: dict[EventId, Event] = {}

    def expect(self) -> None:
        """Nothing to prepare: this process looks every second."""

    async def written(self, *, told: bool = True) -> None:
        if told:
            self.ring()

    def ring(self) -> None:
        """Look at once."""
        self._rung.set()

    async def sweep(self) -> int:
        count = 0
        while batch := await self.drain():
            count += batch
        return count

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
        """Publish one batch, then deliver it; returns how many events it held.

        Raises:
            Unavailable: the database is away; what it kept of the batch is delivered by a later call.
        """
        await self._settle()
        async with self._outbox.sql.transaction():
            events = await self._outbox.pending(limit=BATCH)
            if not events:
                return 0
            members = await self._members(events)
            bodies = [pack(event) if self._outbox.consumers(event) else "" for event in events]
            self._unsure |= {event.id: event for event in events}
            await self._outbox.publish(events, bodies, now=self._clock())
        self._deliver(events, members)
        self._tell_queues(events)
        return len(events)

    async def _settle(self) -> None:
        """Deliver what an outage left unsure and the database has kept."""
        if not self._unsure:
            return
        placed = await self._outbox.published(self._unsure)
        events = [event for event in self._unsure.values() if event.id in placed]
        self._deliver(events, await self._members(events))
        self._tell_queues(events)

    def _tell_queues(self, events: Iterable[Event]) -> None:
        queues = {queue for event in events for queue in self._outbox.consumers(event)}
        if queues:
            self._on_work(queues)

    async def _members(self, events: Iterable[Event]) -> Mapping[TripId, Sequence[UserId]]:
        return await self._outbox.recipients(
            event.trip_id for event in events if event.audience == Audience.TRIP and event.trip_id
        )

    def _deliver(self, events: Sequence[Event], members: Mapping[TripId, Sequence[UserId]]) -> None:
        for event in events:
            self._unsure.pop(event.id, None)
            self._on_event(event)
            self._tell(event, members)
        self._metrics.published(len(events))

    def _tell(self, event: Event, members: Mapping[TripId, Sequence[UserId]]) -> None:
        people, muted = listeners(event, members)
        if self._sockets.connected(people):
            self._metrics.delivered(self._sockets.deliver(event_frame(event), people, muted))
