"""Consumes the location stream: stores history, broadcasts positions, records arrivals."""

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
    """Store a batch and broadcast each member's newest position. Returns the indexes of malformed texts."""
    carried: list[Carried] = []
    bad_indexes: list[int] = []
    for index, text in enumerate(texts):
        try:
            carried.append(unpack_carried(text))
        except NotCarried as error:
            log.error("Stream record is not a report", extra={"fields": {"reason": str(error)}})  # noqa: TRY400
            bad_indexes.append(index)
    for trip_id, accepted in await ports.carried_positions.keep(carried):
        now = ports.clock()
        changes = await tell_crew(trip_id, accepted, live=ports.live, new_id=ports.new_id, now=now)
        if changes:
            ports.outbox.expect()
            await note_arrivals(
                trip_id,
                accepted.member,
                changes,
                sharing=ports.location_sharing,
                new_id=ports.new_id,
                now=now,
            )
            await ports.outbox.written()
    return bad_indexes


handler = stream_entry(work_off, lambda_ports, PORTS)
