"""The port of user profiles."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NewType, Protocol
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.ids import EventId, PictureId, TripId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.users.model import Profile

ContactEmailCodeId = NewType("ContactEmailCodeId", UUID)


class ProfileChange(Struct, frozen=True):
    """Fields to change; None leaves a field unchanged."""

    username: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    avatar_url: str | None = None
    location_privacy_preference: str | None = None


class FoundUser(Struct, frozen=True):
    """A row of a search. `is_member` is True for members of the named trip.

    `is_companion` is True for users on a common trip with the caller, who may see their address.
    """

    id: UserId
    email: str
    username: str
    first_name: str
    last_name: str
    avatar_url: str
    is_member: bool
    is_companion: bool


class ProfileForCaller(Struct, frozen=True):
    """A profile, and whether its user is on a common trip with the caller."""

    profile: Profile
    is_companion: bool


class UnconfirmedContactEmail(Struct, frozen=True):
    """A contact address that waits for its confirmation, and the user who gave it."""

    user_id: UserId
    username: str
    email: str


class ProfilePage(Struct, frozen=True):
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

    async def forget(self, user_id: UserId) -> None:
        """Drop a stored copy of a profile, which another port has changed. Never fails for an outage."""
        ...

    async def view(self, user_id: UserId, caller: UserId) -> ProfileForCaller:
        """Raises NotFound: no such user."""
        ...

    async def search(self, text: str, caller: UserId, *, trip_id: TripId | None, limit: int) -> Sequence[FoundUser]:
        """Users with the address `text`, or whose username begins with it, best matches first.

        Users on a common trip with the caller are also found by a part of their username or names; a text of two
        characters matches at the beginning of a name only.
        """
        ...

    async def page(
        self, caller: UserId, *, is_admin: bool, limit: int, offset: int = 0, after: After | None = None
    ) -> ProfilePage:
        """All users below `after`, newest first. Raises `AdminOnly` unless the caller is a system administrator."""
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

    async def set_avatar(
        self, caller: UserId, picture_id: PictureId, avatar_url: str, *, event_id: EventId, now: datetime
    ) -> Profile:
        """Make a reserved avatar visible and let the caller's profile refer to it; the former one is deleted.

        Raises:
            NotFound: the caller reserved no such avatar, or replaced it since.
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

    async def set_contact_email(
        self, caller: UserId, email: str, *, code_id: ContactEmailCodeId, event_id: EventId, now: datetime
    ) -> None:
        """Store an address, unconfirmed, and cause the mail with the link that confirms it.

        The address that is stored already keeps its confirmation.

        Raises:
            EmailTaken: another user signs in with that address.
        """
        ...

    async def get_unconfirmed_contact_email(self, code_id: ContactEmailCodeId) -> UnconfirmedContactEmail | None:
        """The address for its mail and its page; None if it was replaced or is confirmed."""
        ...

    async def confirm_contact_email(
        self, code_id: ContactEmailCodeId, *, now: datetime
    ) -> UnconfirmedContactEmail | None:
        """Confirm an address; safe to repeat. None if it was replaced."""
        ...


class PrivateAddresses(Protocol):
    """Stand-ins for the email addresses of users who are on no common trip with the viewer.

    An address names one user to one viewer: the invitation route resolves it for that viewer only.
    """

    def address_of(self, user_id: UserId, viewer: UserId) -> str: ...

    def user_of(self, address: str, viewer: UserId) -> UserId | None:
        """The user whom an address names to this viewer; None if it names no user to them."""
        ...
