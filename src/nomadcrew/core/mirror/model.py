"""The rows of the mirror: users, trips with memberships, and positions visible to every member."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from msgspec import Struct

from nomadcrew.core.errors import PermanentFailure
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.privacy import VisiblePosition


@dataclass(frozen=True, slots=True)
class MirroredUser:
    id: UserId
    email: str = field(repr=False)
    username: str


@dataclass(frozen=True, slots=True)
class MirroredTrip:
    """A trip that is not deleted, with its current members and their roles."""

    id: TripId
    name: str
    created_by: UserId | None
    start_date: date
    end_date: date
    destination_latitude: float = field(repr=False)
    destination_longitude: float = field(repr=False)
    members: Sequence[tuple[UserId, str]] = ()
    users: Sequence[MirroredUser] = ()


class MirroredPosition(Struct, frozen=True):
    """A member's position as every member may see it, until `expires_at`."""

    user_id: UserId
    seen: VisiblePosition
    expires_at: datetime | None


class MirrorRefused(PermanentFailure):
    """The mirror permanently refuses a write: an operator must check its key or its tables."""
