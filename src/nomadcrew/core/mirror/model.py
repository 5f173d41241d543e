"""What is copied: people, trips, memberships, and positions as the crew may see them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from nomadcrew.core.errors import Hopeless
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.privacy import Seen


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


@dataclass(frozen=True, slots=True)
class MirroredPosition:
    """Where somebody is, as everybody on the trip may see it, and until when."""

    user_id: UserId
    seen: Seen
    expires_at: datetime | None


class MirrorRefused(Hopeless):
    """The mirror does not take it, and will not: somebody has to look at its key or its tables."""
