"""Where the copy comes from, and where it goes."""

from collections.abc import Sequence
from typing import Protocol

from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.mirror.model import MirroredPosition, MirroredTrip, MirroredUser


class MirrorSource(Protocol):
    """What the mirror should show now."""

    async def trip(self, trip_id: TripId) -> MirroredTrip | None:
        """A trip with its creator and its members; None if there is none, or it was deleted."""
        ...

    async def user(self, user_id: UserId) -> MirroredUser | None: ...


class Mirror(Protocol):
    """The copy. Every method may be repeated, and raises.

    Unavailable: not now; try again later.
    MirrorRefused: not ever.
    """

    async def put_users(self, users: Sequence[MirroredUser]) -> None:
        """Have these people there as they are; others stay as they were."""
        ...

    async def put_trip(self, trip: MirroredTrip) -> None:
        """Have a trip there as it is, with these members and positions of no others.

        Its people have to be there already.
        """
        ...

    async def drop_trip(self, trip_id: TripId) -> None:
        """Have neither the trip there nor anybody on it."""
        ...

    async def put_positions(
        self, trip_id: TripId, positions: Sequence[MirroredPosition], hidden: Sequence[UserId]
    ) -> None:
        """Have these people's positions there, one each, and none of those who show none."""
        ...

    async def hide(self, user_id: UserId) -> None:
        """Have no position of somebody there, on any trip."""
        ...
