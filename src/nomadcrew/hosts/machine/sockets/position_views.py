"""Buffers the viewers of broadcast positions, which are then recorded in batches."""

import logging
from collections.abc import Set
from datetime import datetime

from nomadcrew.core.clock import Clock
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.ports import PositionViews

log = logging.getLogger("nomadcrew.views")

# At most some 30 MB: each viewer of a position is an entry in two sets.
MOST = 200_000


class PositionViewBuffer:
    """A buffer of position views. `add` never waits. A view is recorded once per hour and not per broadcast."""

    def __init__(self, views: PositionViews, clock: Clock, *, most: int = MOST) -> None:
        """`most` bounds both the remembered and the waiting views."""
        self._views = views
        self._clock = clock
        self._most = most
        self._hour: datetime | None = None
        # Viewers seen in this hour, by trip and owner. Forgetting one costs a statement that changes nothing.
        self._seen: dict[tuple[TripId, UserId], set[UserId]] = {}
        self._seen_count = 0
        self._waiting: dict[tuple[TripId, UserId, datetime], set[UserId]] = {}
        self._waiting_count = 0
        self._dropped_count = 0

    def record(self, trip_id: TripId, owner: UserId, viewers: Set[UserId]) -> None:
        """Add the viewers who were just sent the position of `owner`."""
        hour = self._clock().replace(minute=0, second=0, microsecond=0)
        if hour != self._hour or self._seen_count >= self._most:
            self._hour, self._seen_count = hour, 0
            self._seen.clear()
        seen = self._seen.setdefault((trip_id, owner), set())
        new = viewers - seen - {owner}
        if not new:
            return
        if self._waiting_count >= self._most:
            self._dropped_count += len(new)
            return
        seen |= new
        self._seen_count += len(new)
        waiting = self._waiting.setdefault((trip_id, owner, hour), set())
        self._waiting_count += len(new - waiting)
        waiting |= new

    async def flush(self) -> None:
        """Record the waiting views.

        Raises:
            Unavailable: the remaining views stay in the buffer.
        """
        if self._dropped_count:
            log.warning("Views not recorded", extra={"fields": {"count": self._dropped_count}})
            self._dropped_count = 0
        for key in list(self._waiting):
            trip_id, owner, hour = key
            recorded = frozenset(self._waiting[key])
            await self._views.record(trip_id, recorded, [owner], now=hour)
            # `add` may have run during the await.
            remaining = self._waiting[key] - recorded
            self._waiting_count -= len(recorded)
            if remaining:
                self._waiting[key] = remaining
            else:
                del self._waiting[key]
