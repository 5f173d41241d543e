"""Bodies of the user routes."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from nomadcrew.core.errors import Invalid
from nomadcrew.core.retention import Period
from nomadcrew.core.users.model import DEFAULT_LOCATION_PRIVACY, Profile
from nomadcrew.core.users.ports import FoundUser, ProfileChange
from nomadcrew.web.decode import decode

Text = Annotated[str, Meta(max_length=255)]
Address = Annotated[str, Meta(max_length=2048)]


class UserProfile(Struct, rename="camel", omit_defaults=True):
    """A user. Contact address, location privacy and preferences are present in the caller's own profile only."""

    id: UUID
    email: str
    username: str
    created_at: datetime
    updated_at: datetime
    last_seen_at: datetime
    display_name: str
    first_name: str = ""
    last_name: str = ""
    avatar_url: str = ""
    profile_picture: str = ""
    profile_picture_url: str = ""
    contact_email: str | None = None
    location_privacy_preference: str | None = None
    preferences: dict[str, Any] | UnsetType = UNSET


class PreferencesSaved(UserProfile, rename="camel", omit_defaults=True, kw_only=True):
    """The profile, and the message that the monolith's clients read."""

    message: str


class FoundUserView(Struct, rename="camel", omit_defaults=True):
    """A user. `email` is a private address of ours unless the user is on a common trip with the caller."""

    id: UUID
    email: str
    username: str
    first_name: str = ""
    last_name: str = ""
    avatar_url: str = ""
    is_member: bool = False


class FoundUsers(Struct):
    users: list[FoundUserView]


class UserPagination(Struct):
    total: int
    offset: int
    limit: int


class UserPage(Struct):
    users: list[UserProfile]
    pagination: UserPagination


class OnboardIn(Struct):
    username: Text | None = None


class PeriodView(Struct, rename="camel"):
    """Data that the server deletes by itself, and after how many seconds."""

    data: str
    description: str
    stored_for_seconds: int


class PrivacyView(Struct):
    periods: list[PeriodView]


class ContactEmailIn(Struct):
    email: Text


class ContactEmailView(Struct, rename="camel"):
    contact_email: str


class ProfileChangeIn(Struct, rename="camel"):
    """Fields to change. Omitted and null fields stay unchanged."""

    username: Text | None = None
    first_name: Text | None = None
    last_name: Text | None = None
    profile_picture_url: Address | None = None
    avatar_url: Address | None = None
    location_privacy_preference: Literal["hidden", "approximate", "precise"] | None = None

    def to_change(self) -> ProfileChange:
        return ProfileChange(
            username=self.username,
            first_name=self.first_name,
            last_name=self.last_name,
            avatar_url=self.profile_picture_url if self.profile_picture_url is not None else self.avatar_url,
            location_privacy_preference=self.location_privacy_preference,
        )


def own_profile(profile: Profile) -> UserProfile:
    """A profile for its own user."""
    view = public_profile(profile)
    view.contact_email = profile.contact_email
    # The app takes an absent level for "hidden".
    view.location_privacy_preference = profile.location_privacy_preference or DEFAULT_LOCATION_PRIVACY
    view.preferences = profile.preferences
    return view


def public_profile(profile: Profile, *, email: str | None = None) -> UserProfile:
    """A profile for other users. `email` replaces the address for a viewer who may not see it."""
    return UserProfile(
        id=profile.id,
        email=email or profile.email,
        username=profile.username,
        created_at=profile.created_at,
        updated_at=profile.updated_at,
        # The shipped app shows this field, but the monolith never stored it; the last change comes closest.
        last_seen_at=profile.updated_at,
        display_name=profile.display_name,
        first_name=profile.first_name,
        last_name=profile.last_name,
        avatar_url=profile.avatar_url,
        profile_picture=profile.avatar_url,
        profile_picture_url=profile.avatar_url,
    )


def preferences_saved(profile: Profile) -> PreferencesSaved:
    fields = msgspec.structs.asdict(own_profile(profile))
    return PreferencesSaved(**fields, message="Preferences updated successfully")


def found_user(user: FoundUser, email: str) -> FoundUserView:
    """A row of a search; `email` is the address that the viewer may see."""
    return FoundUserView(
        id=user.id,
        email=email,
        username=user.username,
        first_name=user.first_name,
        last_name=user.last_name,
        avatar_url=user.avatar_url,
        is_member=user.is_member,
    )


def username_in(body: bytes) -> str | None:
    """The username in an onboarding body. The shipped app sends malformed bodies, which count as empty."""
    try:
        onboarding: OnboardIn = decode(body, OnboardIn)
    except Invalid:
        return None
    return onboarding.username


def privacy_view(periods: Iterable[Period]) -> PrivacyView:
    return PrivacyView(
        [PeriodView(one.data, one.description, int(one.stored_for.total_seconds())) for one in periods]
    )
