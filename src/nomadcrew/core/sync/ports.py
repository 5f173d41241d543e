"""Port of synchronisation."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.sync.cursors import Cursor

if TYPE_CHECKING:
    # At runtime a function that only knows the present point would load the records of the chat.
    from nomadcrew.core.sync.model import ChangePage


class ChangeLog(Protocol):
    """Changes of entities, in an order in which no change that is committed late is missed.

    An entity that changes several times between two cursors is in one change.
    """

    async def page(
        self, caller: UserId, since: Cursor | None, *, trips: Sequence[TripId] | None, limit: int, now: datetime
    ) -> "ChangePage":
        """The entities that the caller may see and that changed since the cursor; without one, all.

        A caller who joined a trip since then gets all of its entities, a caller who left it the trip's tombstone.
        Tombstones come only after the first run of pages. `trips` leaves out other trips.

        Raises:
            NotOnboarded: the caller has no profile.
            CursorExpired: the database was restored since the cursor.
        """
        ...


class SyncPoints(Protocol):
    async def present(self, now: datetime) -> Cursor:
        """The cursor of a client that has all that is committed at `now`."""
        ...
