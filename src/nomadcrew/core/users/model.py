"""A user as other members see them."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from nomadcrew.core.ids import UserId
from nomadcrew.core.names import display_name

# The level that applies to a user who never chose one.
DEFAULT_LOCATION_PRIVACY = "precise"


class Profile(Struct, frozen=True):
    """A user, as other members of a trip see them."""

    id: UserId
    email: str
    username: str
    first_name: str
    last_name: str
    avatar_url: str
    contact_email: str | None
    location_privacy_preference: str | None
    preferences: dict[str, Any]
    created_at: datetime
    updated_at: datetime

    @property
    def display_name(self) -> str:
        return display_name(self.first_name, self.last_name, self.username)
