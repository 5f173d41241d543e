"""Broadcasts, and a copy of the positions to the mirror."""

import logging
from collections.abc import Sequence

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import MIRROR, Event
from nomadcrew.core.ids import UserId
from nomadcrew.core.locations.model import POSITION_TOLD
from nomadcrew.core.queues import WorkQueue
from nomadcrew.core.realtime import Live
from nomadcrew.wire.events import pack

log = logging.getLogger("nomadcrew.live")


class MirroredLive:
    """`Live` that also queues each position for the mirror; if that fails, the next position repairs it."""

    def __init__(self, live: Live, queue: WorkQueue) -> None:
        self._live = live
        self._queue = queue

    async def tell(self, event: Event, *, latest_of: str | None = None) -> None:
        await self._live.tell(event, latest_of=latest_of)
        if event.type != POSITION_TOLD:
            return
        try:
            await self._queue.send(MIRROR, pack(event))
        except Unavailable as error:
            log.warning("position not mirrored", extra={"fields": {"reason": error.details}})

    async def tell_people(self, event: Event, people: Sequence[UserId]) -> None:
        await self._live.tell_people(event, people)
