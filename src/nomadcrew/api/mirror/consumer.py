"""Consumes the mirror queue: updates the copy of users, trips and positions that the shipped app's map reads."""

from typing import Final

from nomadcrew.core.mirror.service import mirror_event
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.wire.events import unpack

PORTS: Final = ("mirror", "mirror_source", "positions", "queue")


async def consume_mirror(job: Job, ports: Ports) -> None:
    """Copy the rows that an event refers to.

    Raises:
        NotAnEvent: the message is not an event.
        Unavailable, MirrorRefused: as `Mirror` says.
    """
    await mirror_event(
        unpack(job.body),
        source=ports.mirror_source,
        positions=ports.positions,
        mirror=ports.mirror,
        now=ports.clock(),
    )
