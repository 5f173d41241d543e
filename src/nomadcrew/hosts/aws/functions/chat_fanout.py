"""Consumes the chat table's stream: records each event, sends it to sockets, queues notifications.

The stream delivers a trip's changes in order, each at least once. An event is stored before it is sent, so that a
client that continues from the last event it received misses none.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

from nomadcrew.core.events import Event, consumers_of, job_id, listeners
from nomadcrew.core.ids import TripId
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.stream_event import stream_entry
from nomadcrew.wire.events import NotAnEvent, event_frame, pack, unpack

log = logging.getLogger("nomadcrew.fanout")

PORTS: Final = ("events", "queue", "socket_delivery")


async def fan_out(texts: Sequence[str], ports: Ports) -> Collection[int]:
    """Record and send a batch of events, in order per trip. Returns the indexes of texts that are not events."""
    events: list[Event] = []
    bad_indexes: list[int] = []
    for index, text in enumerate(texts):
        try:
            if text:
                events.append(unpack(text))
        except NotAnEvent as error:
            log.error("Stream record is not an event", extra={"fields": {"reason": str(error)}})  # noqa: TRY400
            bad_indexes.append(index)
    if events:
        await _record_and_send(events, ports)
    return bad_indexes


async def _record_and_send(events: Sequence[Event], ports: Ports) -> None:
    await ports.events.record(events)
    trips: dict[TripId, list[Event]] = defaultdict(list)
    for event in events:
        assert event.trip_id is not None, "a chat belongs to a trip"
        trips[event.trip_id].append(event)
    members = await ports.events.recipients(trips)

    async def deliver(list_for_trip: Sequence[Event]) -> None:
        for event in list_for_trip:
            people, muted = listeners(event, members)
            await ports.socket_delivery.deliver(event_frame(event), people, muted, now=ports.clock())

    await asyncio.gather(_queue(events, ports), *(deliver(list_for_trip) for list_for_trip in trips.values()))


async def _queue(events: Sequence[Event], ports: Ports) -> None:
    """Send a copy of each event to its consumers' queues, as the event bus does for other events."""
    jobs = [(queue, event) for event in events for queue in consumers_of(event.type, mirrors=False)]
    await asyncio.gather(
        *(ports.queue.send(queue, pack(event), job_id=job_id(event.id, queue)) for queue, event in jobs)
    )


handler = stream_entry(fan_out, lambda_ports, PORTS)
