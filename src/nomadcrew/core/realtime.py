"""Sockets, as the product sees them."""

from typing import Protocol

from nomadcrew.core.ids import TripId


class Connections(Protocol):
    """Open sockets. Who receives an event is decided from membership when it is delivered, not here."""

    def mute(self, connection_id: str, trip_id: TripId) -> bool:
        """Stop sending a trip's events to one socket; False if they were stopped already."""
        ...

    def unmute(self, connection_id: str, trip_id: TripId) -> None: ...
