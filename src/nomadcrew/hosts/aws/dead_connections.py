"""Connections that API Gateway lost without a word: found by the keep-alive round, then dropped."""

from nomadcrew.core.events import REALTIME
from nomadcrew.core.ids import UserId
from nomadcrew.core.ports import Ports
from nomadcrew.core.presence.model import GRACE_S
from nomadcrew.wire.events import PONG
from nomadcrew.wire.realtime_tasks import gone_task, part_task

MOST_PARTED = 200  # connections of one round; the next round finds the others


async def part(connection_id: str, user_id: UserId, ports: Ports) -> None:
    """Forget a socket that is gone, and have others told if it was its owner's last one.

    In this order, for a socket that is still noted is found gone, and parted with, once more.
    """
    if await ports.presence.left(user_id, connection_id, now=ports.clock()):
        await ports.queue.send(REALTIME, gone_task(user_id), delay_s=GRACE_S)
    await ports.sockets.forget(connection_id)


async def keep_all_alive(ports: Ports) -> None:
    """Send to every socket, and have those that are gone parted with: the gateway does not promise to say so."""
    gone = await ports.sockets.deliver_to_all(PONG, now=ports.clock())
    for connection in gone[:MOST_PARTED]:
        await ports.queue.send(REALTIME, part_task(connection))
