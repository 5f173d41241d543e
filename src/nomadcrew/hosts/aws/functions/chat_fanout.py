"""What chats tell: every change of a chat's table, to the record, to sockets and to whoever notifies.

The stream gives a trip's changes in their order and each at least once. An event is in the record before anybody
hears of it, so that a client which continues from the last it heard misses none.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

from nomadcrew.core.events import CONSUMERS, Event, job_id, listeners
from nomadcrew.core.ids import TripId
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.stream_event import stream_entry
from nomadcrew.wire.events import NoEvent, event_frame, pack, unpack

log = logging.getLogger("nomadcrew.fanout")

PORTS: Final = ("events", "queue", "sockets")


async def fan_out(texts: Sequence[str], ports: Ports) -> Collection[int]:
    """Record and deliver what changes tell, those of one trip one after another; the places of what is no event."""
    events: list[Event] = []
    hopeless: list[int] = []
    for place, text in enumerate(texts):
        try:
            if text:
                events.append(unpack(text))
        except NoEvent as error:
            log.error("a change tells no event", extra={"fields": {"reason": str(error)}})  # noqa: TRY400 — no trace
            hopeless.append(place)
    if events:
        await _tell(events, ports)
    return hopeless


async def _tell(events: Sequence[Event], ports: Ports) -> None:
    await ports.events.record(events)
    trips: dict[TripId, list[Event]] = defaultdict(list)
    for event in events:
        assert event.trip_id is not None, "chats are trips'"
        trips[event.trip_id].append(event)
    members = await ports.events.recipients(trips)

    async def deliver(told: Sequence[Event]) -> None:
        for event in told:
            people, muted = listeners(event, members)
            await ports.sockets.deliver(event_frame(event), people, muted, now=ports.clock())

    await asyncio.gather(_pass_on(events, ports), *(deliver(told) for told in trips.values()))


async def _pass_on(events: Sequence[Event], ports: Ports) -> None:
    """Give the queues of an event's consumers a copy, as a bus does for others."""
    jobs = [(queue, event) for event in events for queue in CONSUMERS.get(event.type, ())]
    await asyncio.gather(
        *(ports.queue.send(queue, pack(event), job_id=job_id(event.id, queue)) for queue, event in jobs)
    )


handler = stream_entry(fan_out, lambda_ports, PORTS)
