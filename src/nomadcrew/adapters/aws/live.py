"""What is told live and kept nowhere, by way of the queue of the function that sends to sockets."""

import logging

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import REALTIME, Event
from nomadcrew.core.queues import WorkQueue
from nomadcrew.wire.events import pack

log = logging.getLogger("nomadcrew.live")


class QueuedLive:
    """`Live` where sockets are a gateway's."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue

    async def tell(self, event: Event, *, latest_of: str | None = None) -> None:  # noqa: ARG002 — the port's form
        try:
            await self._queue.send(REALTIME, pack(event))
        except Unavailable as error:
            log.warning("an event was not told", extra={"fields": {"type": event.type, "reason": error.details}})
