"""Views of positions that this process has recorded already: apps ask for last positions every few seconds."""

from collections.abc import Collection, Sequence
from datetime import datetime

from nomadcrew.core.access import Access
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import View
from nomadcrew.core.locations.ports import PositionViews
from nomadcrew.core.pages import After

# Some 20 MB. Forgetting a view costs a statement that changes nothing.
MOST = 100_000


class RecordedViews:
    """`PositionViews` that runs a statement only for views which it has not recorded in this hour."""

    def __init__(self, views: PositionViews, *, most: int = MOST) -> None:
        self._views = views
        self._most = most
        self._hour: datetime | None = None
        self._recorded: set[tuple[TripId, UserId, UserId]] = set()

    async def record(
        self, trip_id: TripId, viewers: Collection[UserId], owners: Collection[UserId], *, now: datetime
    ) -> None:
        hour = now.replace(minute=0, second=0, microsecond=0)
        if hour != self._hour or len(self._recorded) >= self._most:
            self._hour = hour
            self._recorded.clear()
        views = {(trip_id, viewer, owner) for viewer in viewers for owner in owners if viewer != owner}
        if views <= self._recorded:
            return
        await self._views.record(trip_id, viewers, owners, now=now)
        if hour == self._hour:
            self._recorded |= views

    async def list_for_owner(
        self, access: Access, *, limit: int, offset: int = 0, after: After | None = None
    ) -> Sequence[View]:
        return await self._views.list_for_owner(access, limit=limit, offset=offset, after=after)
