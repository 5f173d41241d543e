"""Port of notifications."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.access import Access
from nomadcrew.core.ids import InvitationId, NotificationId, TripId, UserId
from nomadcrew.core.notifications.model import Draft, Facts, Notification
from nomadcrew.core.notifications.preferences import TripPreferences
from nomadcrew.core.pages import After


class Notifications(Protocol):
    """Users' notifications. Every method with a `caller` raises `NotOnboarded`."""

    async def page(
        self, caller: UserId, *, is_read: bool | None, limit: int, offset: int = 0, after: After | None = None
    ) -> Sequence[Notification]:
        """The caller's notifications below `after`, newest first. `is_read` None means both."""
        ...

    async def count_unread(self, caller: UserId) -> int: ...

    async def mark_read(self, notification_id: NotificationId, caller: UserId, *, now: datetime) -> None:
        """Raises NotFound: the caller has no such notification."""
        ...

    async def mark_all_read(self, caller: UserId, *, now: datetime) -> int: ...

    async def delete(self, notification_id: NotificationId, caller: UserId) -> None:
        """Raises NotFound: the caller has no such notification."""
        ...

    async def delete_all(self, caller: UserId) -> int: ...

    async def trip_preferences(self, access: Access) -> TripPreferences:
        """The caller's preferences for a trip.

        Raises:
            NotTripMember, NotFound, Forbidden: as `Todos` says.
        """
        ...

    async def set_trip_preferences(self, access: Access, wanted: TripPreferences, *, now: datetime) -> None:
        """Replace the caller's preferences for a trip. Raises as `trip_preferences`."""
        ...

    async def facts(
        self, trip_id: TripId | None, user_ids: Sequence[UserId], invitation_id: InvitationId | None
    ) -> Facts | None:
        """The trip's name, and its members, the users in `user_ids` and the invitee of the pending invitation.

        None once the trip is deleted. Without a trip, the users in `user_ids` only.
        """
        ...

    async def store(
        self, trip_id: TripId | None, drafts: Sequence[Draft], *, caused_at: datetime, now: datetime
    ) -> int:
        """Store notifications, with an event for each recipient's sockets. Safe to repeat.

        A stored notification is renewed if its event happened before `caused_at`, the time of the event.
        Returns the number of new and renewed notifications.
        """
        ...
