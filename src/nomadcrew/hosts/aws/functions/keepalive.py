"""Sends a frame to every socket twice a minute: clients reconnect after a silent minute.

A schedule calls this once a minute. The second round is a message to the realtime queue, delayed by half a minute.
"""

from typing import Final

from nomadcrew.core.events import REALTIME
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.dead_connections import ping_all
from nomadcrew.hosts.aws.entry import Context, Event, event_entry
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.wire.realtime_tasks import KEEP_ALIVE

PORTS: Final = ("all_sockets", "queue")
AGAIN_S = 30


async def keep_alive(_event: Event, _context: Context, ports: Ports) -> None:
    # Queue the second round first, so that a slow gateway cannot prevent it.
    await ports.queue.send(REALTIME, KEEP_ALIVE, delay_s=AGAIN_S)
    await ping_all(ports)


handler = event_entry(keep_alive, lambda_ports, PORTS)
