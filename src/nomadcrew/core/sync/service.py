"""Synchronisation of a client's copy."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.retention import TOMBSTONE_RETENTION
from nomadcrew.core.sync.cursors import BadCursor, Cursor
from nomadcrew.core.sync.model import ChangePage, CursorExpired
from nomadcrew.core.sync.ports import ChangeLog


async def changes_since(
    since: Cursor | None,
    trips: Sequence[TripId] | None,
    caller: UserId,
    *,
    changes: ChangeLog,
    limit: int,
    now: datetime,
) -> ChangePage:
    """A page of the changes since a cursor.

    Raises:
        BadCursor: the cursor was made for other trips.
        CursorExpired: tombstones since then are deleted, or the database was restored.
        DomainError: as `ChangeLog` says.
    """
    if since is not None:
        if since.trips != trips:
            raise BadCursor
        if since.oldest_at is None or since.oldest_at <= now - TOMBSTONE_RETENTION:
            raise CursorExpired
    return await changes.page(caller, since, trips=trips, limit=limit, now=now)
