"""Who heard positions live, collected where sockets are written to and noted together a little later."""

import logging
from collections.abc import Set
from datetime import datetime

from nomadcrew.core.clock import Clock
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.ports import PositionViews

log = logging.getLogger("nomadcrew.views")

# Some thirty megabytes at worst: a viewer of a position costs a place in two sets.
MOST = 200_000


class Heard:
    """Views by ear. `add` never waits; each view of an hour is noted once, however often a position is told."""

    def __init__(self, views: PositionViews, clock: Clock, *, most: int = MOST) -> None:
        """`most` bounds the views that are remembered, and those that wait."""
        self._views = views
        self._clock = clock
        self._most = most
        self._hour: datetime | None = None
        # What was taken in this hour, by trip and owner; to forget it costs a statement that changes nothing.
        self._taken: dict[tuple[TripId, UserId], set[UserId]] = {}
        self._taken_count = 0
        self._waiting: dict[tuple[TripId, UserId, datetime], set[UserId]] = {}
        self._waiting_count = 0
        self._dropped_count = 0

    def add(self, trip_id: TripId, owner: UserId, viewers: Set[UserId]) -> None:
        """Take in that these people have just been sent the position of `owner`."""
        hour = self._clock().replace(minute=0, second=0, microsecond=0)
        if hour != self._hour or self._taken_count >= self._most:
            self._hour, self._taken_count = hour, 0
            self._taken.clear()
        taken = self._taken.setdefault((trip_id, owner), set())
        new = viewers - taken - {owner}
        if not new:
            return
        if self._waiting_count >= self._most:
            self._dropped_count += len(new)
            return
        taken |= new
        self._taken_count += len(new)
        waiting = self._waiting.setdefault((trip_id, owner, hour), set())
        self._waiting_count += len(new - waiting)
        waiting |= new

    async def note(self) -> None:
        """Note what waits.

        Raises:
            Unavailable: the rest waits on.
        """
        if self._dropped_count:
            log.warning("Views not recorded", extra={"fields": {"count": self._dropped_count}})
            self._dropped_count = 0
        for place in list(self._waiting):
            trip_id, owner, hour = place
            noted = frozenset(self._waiting[place])
            await self._views.note(trip_id, noted, [owner], now=hour)
            left = self._waiting[place] - noted
            self._waiting_count -= len(noted)
            if left:
                self._waiting[place] = left
            else:
                del self._waiting[place]
