"""The outbox on EventBridge: events get their stored positions first and are then sent to the bus.

Nothing polls, because polling would keep an idle database from pausing. Instead, every write sends a probe message
with a delay of half a minute, and `sweep` then publishes the events that a crash left behind.
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
ROUNDS = 4  # batches that a request publishes; the probe publishes the rest
ENTRIES = 10
ENTRIES_BYTES = 200_000  # a call may have 256 KB; the rest is for the fields around the details
PROBE_DELAY_S = 30
# A probe also covers the writes of the next seconds: they finish before it arrives.
PROBE_EVERY = timedelta(seconds=10)
# How long events are left to the publisher that gave them their positions.
PATIENCE = timedelta(seconds=10)

Entry = dict[str, Any]


class EventBridgeOutbox:
    """`Outbox` that publishes right after the write, in the same process."""

    def __init__(
        self, outbox: PostgresOutbox, events: AwsClient, sqs: AwsClient, *, bus: str, probe_url: str, clock: Clock
    ) -> None:
        """`bus` is the name of the bus, `probe_url` the URL of the queue that triggers `sweep`."""
        self._outbox = outbox
        self._events = events
        self._sqs = sqs
        self._bus = bus
        self._probe_url = probe_url
        self._clock = clock
        self._probed_at: datetime | None = None
        self._probing: asyncio.Task[None] | None = None

    def before_write(self) -> None:
        """Start to send a probe, concurrently with the write; `written` waits for it."""
        now = self._clock()
        if self._probed_at is not None and timedelta() <= now - self._probed_at < PROBE_EVERY:
            return
        self._probed_at = now
        self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def after_commit(self, *, has_events: bool = True) -> None:
        if self._probing is not None:
            # Shielded: other requests may wait for the same probe, and this one may be cancelled.
            await asyncio.shield(self._probing)
        if not has_events:
            return
        try:
            await self._publish_pending(ROUNDS)
        except (Unavailable, AwsError) as error:
            log.warning("events not published yet", extra={"fields": _reason(error)}, exc_info=error)

    async def sweep(self) -> int:
        """Publish all events that are left behind; returns their number.

        Events that another process may be publishing are left to another probe.

        Raises:
            Unavailable, AwsError: some events are still unpublished; call again later.
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
        """Send events to the bus, and mark the accepted ones as sent.

        Raises:
            Unavailable: the bus did not accept all of them.
        """
        accepted: list[Event] = []
        try:
            for part in parts(events, self._bus):
                accepted += await self._put_part(part)
        finally:
            if accepted:
                await self._outbox.sent(event.id for event in accepted)
        if len(accepted) < len(events):
            raise Unavailable(details=f"the bus refused {len(events) - len(accepted)} events")

    async def _put_part(self, part: Sequence[tuple[Event, Entry]]) -> list[Event]:
        """Send one call's entries; returns the accepted events and logs the others."""
        # Sending twice is harmless: consumers deduplicate by the event's id.
        reply = await self._events.call("PutEvents", {"Entries": [entry for _, entry in part]})
        accepted = []
        for (event, _), result in zip(part, reply["Entries"], strict=True):
            if "ErrorCode" in result:
                fields = {"event_id": str(event.id), "type": event.type, "code": result["ErrorCode"]}
                log.warning("bus refused an event", extra={"fields": fields})
            else:
                accepted.append(event)
        telemetry.count(telemetry.EVENTS_PUBLISHED, len(accepted))
        return accepted

    async def _probe(self) -> None:
        try:
            await self._send_probe()
        except (Unavailable, AwsError) as error:
            self._probed_at = None
            log.warning("probe not sent", extra={"fields": _reason(error)}, exc_info=error)

    async def _send_probe(self) -> None:
        body = {"QueueUrl": self._probe_url, "MessageBody": "probe", "DelaySeconds": PROBE_DELAY_S}
        await self._sqs.call("SendMessage", body)


def parts(events: Sequence[Event], bus: str) -> Iterator[list[tuple[Event, Entry]]]:
    """Events with their entries, in batches of one call each."""
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
