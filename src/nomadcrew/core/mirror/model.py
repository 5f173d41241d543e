"""What is copied: people, trips and memberships, as far as somebody else's access rules need them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from nomadcrew.core.errors import Hopeless
from nomadcrew.core.ids import TripId, UserId


@dataclass(frozen=True, slots=True)
class MirroredUser:
    id: UserId
    email: str = field(repr=False)
    username: str


@dataclass(frozen=True, slots=True)
class MirroredTrip:
    """A trip that is there, with everybody who is on it now and their roles."""

    id: TripId
    name: str
    created_by: UserId | None
    start_date: date
    end_date: date
    destination_latitude: float = field(repr=False)
    destination_longitude: float = field(repr=False)
    members: Sequence[tuple[UserId, str]] = ()
    users: Sequence[MirroredUser] = ()


class MirrorRefused(Hopeless):
    """The mirror does not take it, and will not: somebody has to look at its key or its tables."""
