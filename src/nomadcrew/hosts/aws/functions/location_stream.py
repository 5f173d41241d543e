"""Consumes the location stream: stores history, broadcasts positions, records arrivals."""

import logging
from collections.abc import Collection, Sequence
from typing import Final

from nomadcrew.core.locations.model import LocationRecord
from nomadcrew.core.locations.service import broadcast_positions, record_arrivals
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.stream_event import stream_entry
from nomadcrew.wire.location_records import NotALocationRecord, unpack_record

log = logging.getLogger("nomadcrew.location_stream")

PORTS: Final = ("broadcaster", "location_sharing", "outbox", "queue", "streamed_positions")


async def consume_records(texts: Sequence[str], ports: Ports) -> Collection[int]:
    """Store a batch and broadcast each member's newest position. Returns the indexes of malformed texts."""
    carried: list[LocationRecord] = []
    bad_indexes: list[int] = []
    for index, text in enumerate(texts):
        try:
            carried.append(unpack_record(text))
        except NotALocationRecord as error:
            log.error("Stream record is not a report", extra={"fields": {"reason": str(error)}})  # noqa: TRY400
            bad_indexes.append(index)
    for trip_id, accepted in await ports.streamed_positions.store(carried):
        now = ports.clock()
        changes = await broadcast_positions(
            trip_id, accepted, broadcaster=ports.broadcaster, new_id=ports.new_id, now=now
        )
        if changes:
            ports.outbox.before_write()
            await record_arrivals(
                trip_id,
                accepted.member,
                changes,
                sharing=ports.location_sharing,
                new_id=ports.new_id,
                now=now,
            )
            await ports.outbox.after_commit()
    return bad_indexes


handler = stream_entry(consume_records, lambda_ports, PORTS)
