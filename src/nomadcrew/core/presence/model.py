"""Presence, as co-members see it."""

from dataclasses import dataclass
from datetime import datetime

from nomadcrew.core.ids import TripId, UserId

CHANGED = "PRESENCE_CHANGED"
SOURCE = "presence-service"
# A phone that changes networks is back sooner than this, and nobody needs to know that it was gone.
GRACE_S = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """One member; `last_seen_at` is a whole minute, and None for whoever was never seen or does not want to be."""

    user_id: UserId
    is_online: bool
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class Shown:
    """One trip on which somebody can be seen."""

    trip_id: TripId
    seen: Seen


@dataclass(frozen=True, slots=True)
class Typist:
    """Somebody as others see them typing; `avatar` is empty where there is none."""

    name: str
    avatar: str


def to_the_minute(moment: datetime) -> datetime:
    """A moment as coarse as anybody may know it."""
    return moment.replace(second=0, microsecond=0)
