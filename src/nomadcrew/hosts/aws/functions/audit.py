"""Stores every event in the audit log."""

from collections.abc import Sequence
from typing import Final

from nomadcrew.core.events import Event
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import batch_entry
from nomadcrew.wire.events import NotAnEvent, unpack

PORTS: Final = ("audit", "queue")


async def save_events(jobs: Sequence[Job], ports: Ports) -> None:
    """Store a batch of events in one call. Messages that are not events go to the dead letters."""
    events: list[Event] = []
    for job in jobs:
        try:
            events.append(unpack(job.body))
        except NotAnEvent as error:
            await ports.queue.fail(job, type(error).__name__, final=True)
    await ports.audit.save(events)


handler = batch_entry(save_events, lambda_ports, PORTS)
