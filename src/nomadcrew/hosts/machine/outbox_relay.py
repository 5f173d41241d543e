"""Relays events from the outbox to sockets and work queues.

An event gets its position in the stored sequence before it is sent: a client resumes after the last event it
received, and would miss an event with an earlier position that is stored later. Sockets cannot miss an event that
is stored but not yet sent: they end with this process, and reconnecting clients fetch stored events.
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
    """Publishes committed events: at once after `written`, and every second in any case; implements `Outbox`."""

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
        """`on_work` is called with the queues of new jobs, `on_event` with each event before it is sent."""
        self._outbox = outbox
        self._sockets = sockets
        self._clock = clock
        self._metrics = metrics
        self._on_work = on_work
        self._on_event = on_event
        self._wake = asyncio.Event()
        # Events whose publication was interrupted by an outage; the database knows which are published.
        self._in_doubt: dict[EventId, Event] = {}

    def before_write(self) -> None:
        """Nothing to prepare: this process polls every second."""

    async def after_commit(self, *, has_events: bool = True) -> None:
        if has_events:
            self.wake()

    def wake(self) -> None:
        """Poll at once."""
        self._wake.set()

    async def sweep(self) -> int:
        count = 0
        while batch := await self.drain():
            count += batch
        return count

    async def run(self, beat: Callable[[], None]) -> None:
        """Relay until cancelled, through outages."""
        while True:
            beat()
            try:
                while await self.drain() == BATCH:
                    beat()
            except Unavailable as error:
                log.warning("relay waiting for the database", extra={"fields": {"reason": error.details}})
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), SWEEP_S)
            except TimeoutError:
                continue
            self._wake.clear()

    async def drain(self) -> int:
        """Publish one batch, then send it; returns its size.

        Raises:
            Unavailable: the database is down; a later call sends the events that it has published.
        """
        await self._settle()
        async with self._outbox.sql.transaction():
            events = await self._outbox.pending(limit=BATCH)
            if not events:
                return 0
            members = await self._members(events)
            bodies = [pack(event) if self._outbox.consumers(event) else "" for event in events]
            self._in_doubt |= {event.id: event for event in events}
            await self._outbox.publish(events, bodies, now=self._clock())
        self._deliver(events, members)
        self._wake_queues(events)
        return len(events)

    async def _settle(self) -> None:
        """Send the published events of an interrupted batch."""
        if not self._in_doubt:
            return
        published = await self._outbox.published(self._in_doubt)
        events = [event for event in self._in_doubt.values() if event.id in published]
        self._deliver(events, await self._members(events))
        self._wake_queues(events)

    def _wake_queues(self, events: Iterable[Event]) -> None:
        queues = {queue for event in events for queue in self._outbox.consumers(event)}
        if queues:
            self._on_work(queues)

    async def _members(self, events: Iterable[Event]) -> Mapping[TripId, Sequence[UserId]]:
        return await self._outbox.recipients(
            event.trip_id for event in events if event.audience == Audience.TRIP and event.trip_id
        )

    def _deliver(self, events: Sequence[Event], members: Mapping[TripId, Sequence[UserId]]) -> None:
        for event in events:
            self._in_doubt.pop(event.id, None)
            self._on_event(event)
            self._send(event, members)
        self._metrics.published(len(events))

    def _send(self, event: Event, members: Mapping[TripId, Sequence[UserId]]) -> None:
        people, muted = listeners(event, members)
        if self._sockets.connected(people):
            self._metrics.delivered(self._sockets.deliver(event_frame(event), people, muted))
