"""Relays events from the outbox to sockets and work queues.

An event gets its position in the stored sequence before it is sent: a client resumes after the last event it
received, and would miss an event with an earlier position that is stored later. Sockets cannot miss an event that
is stored but not yet sent: they end with this process, and reconnecting clients fetch stored events.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from nomadcrew.adapters.postgres.outbox import PostgresOutbox, Published
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Audience, Event, listeners
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.hosts.machine.http.metrics import Metrics
from nomadcrew.hosts.machine.signal import Signal
from nomadcrew.hosts.machine.sockets.broadcast import Delivery
from nomadcrew.wire.events import event_frame

log = logging.getLogger("nomadcrew.relay")

BATCH = 200
SWEEP_S = 1.0
RETRY_S = 0.5
# While writes follow one another, their events gather for this long: ten share a statement instead of two.
PACE_S = 0.005


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
        on_passing: Callable[[Event], None] = lambda _event: None,
        pace_s: float = PACE_S,
    ) -> None:
        """`on_work` is called with the queues of new jobs, `on_event` with each event before it is sent.

        `on_passing` is called with events whose notifications reach sockets only, if such a socket is open.
        """
        self._outbox = outbox
        self._sockets = sockets
        self._clock = clock
        self._metrics = metrics
        self._on_work = on_work
        self._on_event = on_event
        self._on_passing = on_passing
        self._pace_s = pace_s
        self._wake = Signal()
        self._draining = asyncio.Lock()
        # The position of the last event that was sent; None until the database is asked for the first one.
        self._sent: int | None = None
        # True if the last batch was not sent to its end: events after `_sent` may be published already.
        self._in_doubt = False

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
            self._wake.clear()
            try:
                count = await self.drain()
            except Unavailable as error:
                log.warning("relay waiting for the database", extra={"fields": {"reason": error.details}})
                await asyncio.sleep(RETRY_S)
                continue
            if count == BATCH:
                continue
            if self._wake.is_set():
                await asyncio.sleep(self._pace_s)
                continue
            await self._wake.wait(SWEEP_S)

    async def drain(self) -> int:
        """Publish one batch, then send it; returns its size.

        Raises:
            Unavailable: the database is down; a later call sends the events that it has published.
        """
        async with self._draining:
            if self._sent is None:
                self._sent = await self._outbox.last_position()
            was_in_doubt, self._in_doubt = self._in_doubt, True
            batch = await self._outbox.publish(limit=BATCH, now=self._clock(), with_members=len(self._sockets) > 0)
            first = batch.positions[0] if batch.positions else None
            # A statement whose answer was lost leaves a gap, even if the database executes it much later.
            if was_in_doubt or first not in (None, self._sent + 1):
                await self._send_missed(self._sent, first)
            await self._send_all(batch)
            self._in_doubt = False
        return len(batch.events)

    async def _send_missed(self, after: int, before: int | None) -> None:
        """Send the events between these positions, which were published by statements whose answer was lost."""
        while (missed := await self._outbox.published_between(after, before, limit=BATCH)).events:
            await self._send_all(missed)
            after = missed.positions[-1]

    async def _send_all(self, batch: Published) -> None:
        members = batch.members
        if members is None:
            members = await self._members(batch.events) if len(self._sockets) else {}
        for position, event in zip(batch.positions, batch.events, strict=True):
            self._sent = position
            self._on_event(event)
            self._send(event, members, is_passing=event.id in batch.passing)
        self._metrics.published(len(batch.events))
        if batch.queues:
            self._on_work(batch.queues)

    async def _members(self, events: Iterable[Event]) -> Mapping[TripId, Sequence[UserId]]:
        return await self._outbox.recipients(
            event.trip_id for event in events if event.audience == Audience.TRIP and event.trip_id
        )

    def _send(self, event: Event, members: Mapping[TripId, Sequence[UserId]], *, is_passing: bool) -> None:
        people, muted = listeners(event, members)
        if not self._sockets.connected(people):
            return
        self._metrics.delivered(self._sockets.deliver(event_frame(event), people, muted))
        if is_passing and self._sockets.connected(people - {event.actor_id}):
            self._on_passing(event)
