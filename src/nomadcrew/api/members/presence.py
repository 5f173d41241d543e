"""Body of the presence route."""

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from nomadcrew.core.presence.model import MemberPresence


class PresenceView(Struct, rename="camel"):
    """A member's presence. `lastSeenAt` is a whole minute, absent if unknown or in ghost mode."""

    user_id: UUID
    is_online: bool
    last_seen_at: datetime | UnsetType = UNSET


def presence_view(member: MemberPresence) -> PresenceView:
    last_seen_at = UNSET if member.last_seen_at is None else member.last_seen_at
    return PresenceView(member.user_id, member.is_online, last_seen_at)
