"""The mirror where none is set."""

from collections.abc import Sequence

from nomadcrew.core.ids import TripId
from nomadcrew.core.mirror.model import MirroredTrip, MirroredUser


class SilentMirror:
    """`Mirror` that copies nothing anywhere."""

    async def put_users(self, users: Sequence[MirroredUser]) -> None:  # noqa: ARG002 — the port's form
        return None

    async def put_trip(self, trip: MirroredTrip) -> None:  # noqa: ARG002 — likewise
        return None

    async def drop_trip(self, trip_id: TripId) -> None:  # noqa: ARG002 — likewise
        return None
