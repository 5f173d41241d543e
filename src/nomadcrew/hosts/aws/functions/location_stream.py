"""What the location stream carries: history is kept, the crew is told where somebody is, and who has arrived."""

import logging
from collections.abc import Collection, Sequence
from typing import Final

from nomadcrew.core.locations.model import Carried
from nomadcrew.core.locations.service import note_arrivals, tell_crew
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.stream_event import stream_entry
from nomadcrew.wire.location_records import NotCarried, unpack_carried

log = logging.getLogger("nomadcrew.location_stream")

PORTS: Final = ("carried_positions", "live", "location_sharing", "outbox", "queue")


async def work_off(texts: Sequence[str], ports: Ports) -> Collection[int]:
    """Keep and tell what a batch carries, each member's newest position once; the places of what is no report."""
    carried: list[Carried] = []
    hopeless: list[int] = []
    for place, text in enumerate(texts):
        try:
            carried.append(unpack_carried(text))
        except NotCarried as error:
            log.error("a record is no report", extra={"fields": {"reason": str(error)}})  # noqa: TRY400 — no trace
            hopeless.append(place)
    for trip_id, accepted in await ports.carried_positions.keep(carried):
        now = ports.clock()
        came_or_went = await tell_crew(trip_id, accepted, live=ports.live, new_id=ports.new_id, now=now)
        if came_or_went:
            ports.outbox.expect()
            await note_arrivals(
                trip_id,
                accepted.member,
                came_or_went,
                sharing=ports.location_sharing,
                new_id=ports.new_id,
                now=now,
            )
            await ports.outbox.written()
    return hopeless


handler = stream_entry(work_off, lambda_ports, PORTS)
