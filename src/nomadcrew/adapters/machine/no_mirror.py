"""The mirror if none is configured."""

from collections.abc import Sequence

from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.mirror.model import MirroredPosition, MirroredTrip, MirroredUser


class NoMirror:
    """`Mirror` that copies nothing."""

    async def put_users(self, users: Sequence[MirroredUser]) -> None:  # noqa: ARG002 — required by the port
        return None

    async def put_trip(self, trip: MirroredTrip) -> None:  # noqa: ARG002 — likewise
        return None

    async def drop_trip(self, trip_id: TripId) -> None:  # noqa: ARG002 — likewise
        return None

    async def put_positions(
        self,
        trip_id: TripId,  # noqa: ARG002 — likewise
        positions: Sequence[MirroredPosition],  # noqa: ARG002
        hidden: Sequence[UserId],  # noqa: ARG002
    ) -> None:
        return None

    async def hide(self, user_id: UserId) -> None:  # noqa: ARG002 — likewise
        return None
