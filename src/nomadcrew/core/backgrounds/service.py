"""Finds a background picture for a new trip, away from the request that creates it."""

from datetime import datetime

from nomadcrew.core.backgrounds.model import MAX_QUERY
from nomadcrew.core.backgrounds.ports import Backgrounds, PhotoSearch
from nomadcrew.core.ids import EventId, TripId


async def fill_background(
    trip_id: TripId, event_id: EventId, *, backgrounds: Backgrounds, photo_search: PhotoSearch, now: datetime
) -> bool:
    """Give a trip the photo that a service finds for its destination. Safe to repeat; True if the trip changed.

    Raises:
        DomainError: as `PhotoSearch.find` says.
    """
    query = await backgrounds.get_query(trip_id)
    if query is None:
        return False
    photo = await photo_search.find(query[:MAX_QUERY])
    if photo is None:
        return False
    return await backgrounds.fill(trip_id, photo, event_id, now=now)
