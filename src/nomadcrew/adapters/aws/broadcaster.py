"""Broadcasts through the queue of the function that sends to sockets."""

import logging
from collections.abc import Sequence

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import REALTIME, Event
from nomadcrew.core.ids import UserId
from nomadcrew.core.queues import WorkQueue
from nomadcrew.wire.events import pack
from nomadcrew.wire.realtime_tasks import broadcast_task

log = logging.getLogger("nomadcrew.live")


class QueuedBroadcaster:
    """`Broadcaster` for sockets that API Gateway holds."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue

    def has_listeners(self) -> bool:
        """True: the function that sends to sockets knows them."""
        return True

    async def broadcast(self, event: Event, *, latest_of: str | None = None) -> None:  # noqa: ARG002 — required by the port
        await self._send(event, pack(event))

    async def send_to(self, event: Event, user_ids: Sequence[UserId]) -> None:
        await self._send(event, broadcast_task(event, user_ids))

    async def _send(self, event: Event, body: str) -> None:
        try:
            await self._queue.send(REALTIME, body)
        except Unavailable as error:
            log.warning("event dropped", extra={"fields": {"type": event.type, "reason": error.details}})
