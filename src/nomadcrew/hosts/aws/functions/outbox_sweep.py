"""The publisher of what a crash left behind; a probe calls it half a minute after a write."""

from collections.abc import Sequence
from typing import Final

from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import batch_entry

PORTS: Final = ("outbox", "queue")


async def sweep(_probes: Sequence[Job], ports: Ports) -> None:
    """Publish what waits, once for all probes that have come; if that fails, they come again."""
    await ports.outbox.sweep()


handler = batch_entry(sweep, lambda_ports, PORTS)
