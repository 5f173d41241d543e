"""Consumes the backgrounds queue: finds a picture for each new trip without one."""

from typing import Final

from nomadcrew.core.backgrounds.service import fill_background
from nomadcrew.core.ids import EventId, derived_id
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.wire.events import unpack

PORTS: Final = ("backgrounds", "outbox", "photo_search", "queue")


async def consume_background(job: Job, ports: Ports) -> None:
    """Find a picture for the trip of an event.

    Raises:
        NotAnEvent: the message is not an event.
        Unavailable, PhotoSearchRefused: as `PhotoSearch` says.
    """
    event = unpack(job.body)
    if event.trip_id is None:
        return
    ports.outbox.before_write()
    filled = await fill_background(
        event.trip_id,
        EventId(derived_id(event.id, "background")),
        backgrounds=ports.backgrounds,
        photo_search=ports.photo_search,
        now=ports.clock(),
    )
    await ports.outbox.after_commit(has_events=filled)
