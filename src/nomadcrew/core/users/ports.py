"""The port of user profiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.users.model import Profile


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """Fields to change; None leaves a field unchanged."""

    username: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    avatar_url: str | None = None
    location_privacy_preference: str | None = None


@dataclass(frozen=True, slots=True)
class FoundUser:
    """A row of a search. `is_member` is True for members of the named trip."""

    id: UserId
    email: str
    username: str
    first_name: str
    last_name: str
    avatar_url: str
    contact_email: str | None
    is_member: bool


@dataclass(frozen=True, slots=True)
class ProfilePage:
    items: Sequence[Profile]
    total: int


class Profiles(Protocol):
    """Users' profiles. Methods with a `caller` raise `NotOnboarded` if the caller has no profile."""

    async def onboard(self, profile: Profile, *, rename: bool = True) -> Profile:
        """Create the profile, or update its email address and, with `rename`, its username.

        Names and avatar replace empty stored values only. An empty email address leaves the stored one unchanged.

        Raises:
            UsernameTaken, EmailTaken: another user has it.
            EmailRequired: there is no profile yet and the email address is empty.
        """
        ...

    async def get(self, user_id: UserId, caller: UserId) -> Profile:
        """Raises NotFound: no such user."""
        ...

    async def search(self, text: str, caller: UserId, *, trip_id: TripId | None, limit: int) -> Sequence[FoundUser]:
        """Users whose username, names or addresses contain `text`, best matches first.

        A text of two characters matches at the beginning only.
        """
        ...

    async def page(self, caller: UserId, *, is_admin: bool, limit: int, offset: int) -> ProfilePage:
        """All users, newest first. Raises `AdminOnly` unless the caller is a system administrator."""
        ...

    async def change(
        self, user_id: UserId, change: ProfileChange, caller: UserId, *, is_admin: bool, now: datetime
    ) -> Profile:
        """Change the fields that are not None.

        Raises:
            NotSelf: another user's profile, and the caller is not a system administrator.
            NotFound: no such user.
            UsernameTaken: another user has it.
        """
        ...

    async def merge_preferences(
        self, user_id: UserId, preferences: dict[str, Any], caller: UserId, *, is_admin: bool, now: datetime
    ) -> Profile:
        """Merge top-level keys; a null removes a key.

        Raises:
            NotSelf, NotFound: as `change`.
            Invalid: the merged preferences exceed `MAX_PREFERENCES_BYTES`.
        """
        ...

    async def merge_notification_preferences(
        self, switches: Mapping[str, Any], details: Mapping[str, Any], caller: UserId, *, now: datetime
    ) -> Profile:
        """Merge notification preferences into `notifications` and `notificationDetails`, key by key.

        Raises:
            Invalid: as `merge_preferences`.
        """
        ...

    async def set_contact_email(self, caller: UserId, email: str, *, now: datetime) -> None:
        """Raises EmailTaken: another user signs in with that address."""
        ...
