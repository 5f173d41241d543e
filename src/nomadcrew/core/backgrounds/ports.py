"""Ports of background pictures."""

from datetime import datetime
from typing import Protocol

from nomadcrew.core.backgrounds.model import FoundPhoto
from nomadcrew.core.ids import EventId, TripId


class PhotoSearch(Protocol):
    async def find(self, query: str) -> FoundPhoto | None:
        """The first photo in landscape that the query finds.

        Raises:
            Unavailable: retry later.
            PhotoSearchRefused: the service refuses the search permanently.
        """
        ...


class Backgrounds(Protocol):
    """The background pictures of trips. A trip gets one if it has none, and its event in the same transaction."""

    async def get_query(self, trip_id: TripId) -> str | None:
        """The destination of a trip without a background picture, else its name; None if it needs none."""
        ...

    async def fill(self, trip_id: TripId, photo: FoundPhoto, event_id: EventId, *, now: datetime) -> bool:
        """Store the photo with its credit, unless the trip has a picture by now. True if it was stored."""
        ...
