"""Presence, as other members see it."""

from datetime import datetime

from msgspec import Struct

from nomadcrew.core.ids import TripId, UserId

CHANGED = "PRESENCE_CHANGED"
SOURCE = "presence-service"
# A phone that changes networks reconnects within this time and is not announced offline.
GRACE_S = 5


class MemberPresence(Struct, frozen=True):
    """A member's presence. `last_seen_at` is a whole minute, None if never seen or in ghost mode."""

    user_id: UserId
    is_online: bool
    last_seen_at: datetime | None


class PresenceChange(Struct, frozen=True):
    """A user's presence on one trip."""

    trip_id: TripId
    seen: MemberPresence


class Typist(Struct, frozen=True):
    """A typing member, as others see them; `avatar` is empty without one."""

    name: str
    avatar: str


def to_the_minute(moment: datetime) -> datetime:
    """The time in whole minutes, the precision of presence."""
    return moment.replace(second=0, microsecond=0)
