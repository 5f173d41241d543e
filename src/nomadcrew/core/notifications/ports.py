"""What notifications need from a database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.ids import InvitationId, NotificationId, TripId, UserId
from nomadcrew.core.notifications.model import Draft, Facts, Notification
from nomadcrew.core.notifications.preferences import TripPreferences
from nomadcrew.core.permissions import Rule


class Notifications(Protocol):
    """A person's own notifications. Every method with a caller raises `NotOnboarded`."""

    async def page(
        self, caller: UserId, *, is_read: bool | None, limit: int, offset: int
    ) -> Sequence[Notification]:
        """Newest first."""
        ...

    async def unread(self, caller: UserId) -> int: ...

    async def mark_read(self, notification_id: NotificationId, caller: UserId, *, now: datetime) -> None:
        """Raises NotFound: no such notification of the caller's."""
        ...

    async def mark_all_read(self, caller: UserId, *, now: datetime) -> int: ...

    async def delete(self, notification_id: NotificationId, caller: UserId) -> None:
        """Raises NotFound: no such notification of the caller's."""
        ...

    async def delete_all(self, caller: UserId) -> int: ...

    async def trip_preferences(self, trip_id: TripId, caller: UserId, rule: Rule) -> TripPreferences:
        """What the caller wants of a trip, since they are on it.

        Raises:
            NotTripMember, NotFound, Forbidden: as `Todos` says.
        """
        ...

    async def prefer(
        self, trip_id: TripId, wanted: TripPreferences, caller: UserId, rule: Rule, *, now: datetime
    ) -> None:
        """Keep what the caller wants of a trip, in the place of what they wanted before; refused as above."""
        ...

    async def facts(
        self, trip_id: TripId, people: Sequence[UserId], invitation_id: InvitationId | None
    ) -> Facts | None:
        """The trip's name, and whoever is on it, is one of `people`, or has that pending invitation.

        None once the trip is gone.
        """
        ...

    async def store(self, trip_id: TripId, drafts: Sequence[Draft], *, now: datetime) -> int:
        """Store notifications, each once however often it comes, and tell their recipients' sockets.

        Returns how many were new.
        """
        ...
