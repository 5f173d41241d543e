"""Finds and drops connections whose disconnect API Gateway did not report."""

from nomadcrew.core.events import REALTIME
from nomadcrew.core.ids import UserId
from nomadcrew.core.ports import Ports
from nomadcrew.core.presence.model import GRACE_S
from nomadcrew.wire.events import PONG
from nomadcrew.wire.realtime_tasks import drop_task, offline_task

MAX_DROPPED = 200  # dead connections per keep-alive round; the next round finds the rest


async def drop_connection(connection_id: str, user_id: UserId, ports: Ports) -> None:
    """Drop a dead connection; if it was the user's last, announce the user offline.

    Announce first: after a crash in between, the next keep-alive finds the connection again.
    """
    if await ports.presence.disconnected(user_id, connection_id, now=ports.clock()):
        await ports.queue.send(REALTIME, offline_task(user_id), delay_s=GRACE_S)
    await ports.sockets.forget(connection_id)


async def ping_all(ports: Ports) -> None:
    """Send a frame to every socket and queue dead ones to be dropped: the gateway may not report disconnects."""
    dead = await ports.all_sockets.deliver_to_all(PONG, now=ports.clock())
    for connection in dead[:MAX_DROPPED]:
        await ports.queue.send(REALTIME, drop_task(connection))
