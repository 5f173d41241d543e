"""Publishes outbox events that a crash left behind. A probe message triggers it half a minute after a write."""

from collections.abc import Sequence
from typing import Final

from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import batch_entry

PORTS: Final = ("outbox", "queue")


async def sweep(_probes: Sequence[Job], ports: Ports) -> None:
    """Sweep the outbox once for the whole batch of probes. A failed sweep is retried with the same probes."""
    await ports.outbox.sweep()


handler = batch_entry(sweep, lambda_ports, PORTS)
