"""The search of a trip."""

from collections.abc import Sequence

from nomadcrew.core.access import Access
from nomadcrew.core.find.model import Found
from nomadcrew.core.find.ports import Finder
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.permissions import rule


async def find(trip_id: TripId, words: Sequence[str], caller: UserId, *, limit: int, finder: Finder) -> Found:
    """The matches of a trip for the keys of a query, by `words_of`.

    Raises:
        DomainError: as `Finder` says.
    """
    return await finder.find(Access(trip_id, caller, rule("trip", "find")), words, limit=limit)
