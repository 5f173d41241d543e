"""Port of synchronisation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.sync.model import ChangePage, Cursor


class ChangeLog(Protocol):
    """Changes of entities, in an order in which no change that is committed late is missed.

    An entity that changes several times between two cursors is in one change.
    """

    async def page(
        self, caller: UserId, since: Cursor | None, *, trips: Sequence[TripId] | None, limit: int, now: datetime
    ) -> ChangePage:
        """The entities that the caller may see and that changed since the cursor; without one, all.

        A caller who joined a trip since then gets all of its entities, a caller who left it the trip's tombstone.
        Tombstones come only after the first run of pages. `trips` leaves out other trips.

        Raises:
            NotOnboarded: the caller has no profile.
            CursorExpired: the database was restored since the cursor.
        """
        ...
