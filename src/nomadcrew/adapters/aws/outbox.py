"""The outbox on EventBridge: placed in the record first, then told to the bus.

Nobody polls, which would keep a database awake that sleeps when nobody travels. Instead every write is announced to
a queue that delivers half a minute later, when `sweep` looks for what a crash left behind.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from nomadcrew.adapters.aws import telemetry
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.postgres.outbox import PostgresOutbox
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Event
from nomadcrew.wire.events import bus_source, detail_type, pack

log = logging.getLogger("nomadcrew.outbox")

BATCH = 50
ROUNDS = 4  # of a batch each, before a request leaves the rest to the probe
ENTRIES = 10
ENTRIES_BYTES = 200_000  # of the 256 KB that a call may hold, with room for what is around the details
PROBE_DELAY_S = 30
# A probe looks after every write of the next seconds too: those are over before it arrives.
PROBE_EVERY = timedelta(seconds=10)
# What another publisher has placed is left to it for so long.
PATIENCE = timedelta(seconds=10)

Entry = dict[str, Any]


class EventBridgeOutbox:
    """`Outbox` that publishes right after the write, in the same process."""

    def __init__(
        self, outbox: PostgresOutbox, events: AwsClient, sqs: AwsClient, *, bus: str, probe_url: str, clock: Clock
    ) -> None:
        """`bus` is the bus's name, `probe_url` the address of the queue that starts `sweep`."""
        self._outbox = outbox
        self._events = events
        self._sqs = sqs
        self._bus = bus
        self._probe_url = probe_url
        self._clock = clock
        self._probed_at: datetime | None = None
        self._probing: asyncio.Task[None] | None = None

    def expect(self) -> None:
        """Start sending a probe, beside the write; `written` waits for it."""
        now = self._clock()
        if self._probed_at is not None and timedelta() <= now - self._probed_at < PROBE_EVERY:
            return
        self._probed_at = now
        self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def written(self, *, told: bool = True) -> None:
        if self._probing is not None:
            # Another request may wait for the same probe, and may be cancelled while it does.
            await asyncio.shield(self._probing)
        if not told:
            return
        try:
            await self._publish_pending(ROUNDS)
        except (Unavailable, AwsError) as error:
            log.warning("events are published later", extra={"fields": _reason(error)}, exc_info=error)

    async def sweep(self) -> int:
        """Publish what nobody else has; returns how many events.

        What somebody seems to be publishing just now is left for another probe.

        Raises:
            Unavailable, AwsError: something stays behind; call again later.
        """
        count = await self._publish_pending(None)
        now = self._clock()
        while events := await self._outbox.unsent(before=now - PATIENCE, limit=BATCH, now=now):
            await self._put(events)
            count += len(events)
        if await self._outbox.behind():
            await self._send_probe()
        return count

    async def _publish_pending(self, rounds: int | None) -> int:
        count = 0
        while rounds is None or rounds > 0:
            events = await self._outbox.place(limit=BATCH, now=self._clock())
            if events:
                await self._put(events)
            count += len(events)
            if len(events) < BATCH:
                break
            rounds = None if rounds is None else rounds - 1
        return count

    async def _put(self, events: Sequence[Event]) -> None:
        """Tell the bus, and the record of those that it took.

        Raises:
            Unavailable: it did not take all of them.
        """
        taken: list[Event] = []
        try:
            for part in parts(events, self._bus):
                taken += await self._put_part(part)
        finally:
            if taken:
                await self._outbox.sent(event.id for event in taken)
        if len(taken) < len(events):
            raise Unavailable(details=f"the bus refused {len(events) - len(taken)} events")

    async def _put_part(self, part: Sequence[tuple[Event, Entry]]) -> list[Event]:
        """The events that the bus took; which it did not is logged."""
        # Told twice is as good as once: whoever hears it goes by the event's id.
        reply = await self._events.call("PutEvents", {"Entries": [entry for _, entry in part]})
        taken = []
        for (event, _), result in zip(part, reply["Entries"], strict=True):
            if "ErrorCode" in result:
                fields = {"event_id": str(event.id), "type": event.type, "code": result["ErrorCode"]}
                log.warning("the bus refused an event", extra={"fields": fields})
            else:
                taken.append(event)
        telemetry.count(telemetry.EVENTS_PUBLISHED, len(taken))
        return taken

    async def _probe(self) -> None:
        try:
            await self._send_probe()
        except (Unavailable, AwsError) as error:
            self._probed_at = None
            log.warning("no probe looks after a write", extra={"fields": _reason(error)}, exc_info=error)

    async def _send_probe(self) -> None:
        body = {"QueueUrl": self._probe_url, "MessageBody": "probe", "DelaySeconds": PROBE_DELAY_S}
        await self._sqs.call("SendMessage", body)


def parts(events: Sequence[Event], bus: str) -> Iterator[list[tuple[Event, Entry]]]:
    """Events with their entries, in calls' worth."""
    part: list[tuple[Event, Entry]] = []
    size = 0
    for event in events:
        detail = pack(event)
        bytes_ = len(detail.encode())
        if part and (len(part) == ENTRIES or size + bytes_ > ENTRIES_BYTES):
            yield part
            part, size = [], 0
        entry = {
            "EventBusName": bus,
            "Source": bus_source(event),
            "DetailType": detail_type(event.type),
            "Detail": detail,
            "Time": event.occurred_at.timestamp(),
        }
        part.append((event, entry))
        size += bytes_
    if part:
        yield part


def _reason(error: Exception) -> dict[str, Any]:
    return {"reason": error.details if isinstance(error, Unavailable) else str(error)}
