"""Presence as it crosses the network."""

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from nomadcrew.core.presence.model import Seen


class PresenceView(Struct, rename="camel"):
    """`lastSeenAt` is a whole minute; it is missing where nobody knows, or nobody may."""

    user_id: UUID
    is_online: bool
    last_seen_at: datetime | UnsetType = UNSET


def presence_view(seen: Seen) -> PresenceView:
    return PresenceView(seen.user_id, seen.is_online, UNSET if seen.last_seen_at is None else seen.last_seen_at)
