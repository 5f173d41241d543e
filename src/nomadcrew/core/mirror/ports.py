"""Ports of the mirror: its source and the copy."""

from collections.abc import Sequence
from typing import Protocol

from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.mirror.model import MirroredPosition, MirroredTrip, MirroredUser


class MirrorSource(Protocol):
    """The current state that the mirror must show."""

    async def trip(self, trip_id: TripId) -> MirroredTrip | None:
        """A trip with its creator and its members; None if it does not exist or is deleted."""
        ...

    async def user(self, user_id: UserId) -> MirroredUser | None: ...


class Mirror(Protocol):
    """The copy. Every method is safe to repeat.

    Raises:
        Unavailable: an outage; retry later.
        MirrorRefused: a permanent refusal.
    """

    async def put_users(self, users: Sequence[MirroredUser]) -> None:
        """Insert or update these users."""
        ...

    async def put_trip(self, trip: MirroredTrip) -> None:
        """Insert or update a trip and its memberships, and delete other memberships with their positions.

        Its users must exist in the mirror.
        """
        ...

    async def drop_trip(self, trip_id: TripId) -> None:
        """Delete the trip with its memberships."""
        ...

    async def put_positions(
        self, trip_id: TripId, positions: Sequence[MirroredPosition], hidden: Sequence[UserId]
    ) -> None:
        """Insert or update one position per member, and delete the positions of `hidden` members."""
        ...

    async def hide(self, user_id: UserId) -> None:
        """Delete the user's positions on all trips."""
        ...

    async def drop_user(self, user_id: UserId) -> None:
        """Delete the user, with memberships and positions, and the user's name as creator of trips."""
        ...
