"""Broadcasts, and a copy of the positions to the mirror."""

import logging
from collections.abc import Sequence

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import MIRROR, Event
from nomadcrew.core.ids import UserId
from nomadcrew.core.locations.model import POSITION_UPDATED
from nomadcrew.core.queues import WorkQueue
from nomadcrew.core.realtime import Broadcaster
from nomadcrew.wire.events import pack

log = logging.getLogger("nomadcrew.live")


class MirroredBroadcaster:
    """`Broadcaster` that also queues each position for the mirror; if that fails, the next position repairs it."""

    def __init__(self, broadcaster: Broadcaster, queue: WorkQueue) -> None:
        self._live = broadcaster
        self._queue = queue

    def has_listeners(self) -> bool:
        """True: the mirror is one."""
        return True

    async def broadcast(self, event: Event, *, latest_of: str | None = None) -> None:
        await self._live.broadcast(event, latest_of=latest_of)
        if event.type != POSITION_UPDATED:
            return
        try:
            await self._queue.send(MIRROR, pack(event))
        except Unavailable as error:
            log.warning("position not mirrored", extra={"fields": {"reason": error.details}})

    async def send_to(self, event: Event, user_ids: Sequence[UserId]) -> None:
        await self._live.send_to(event, user_ids)
