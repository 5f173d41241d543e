"""Accounts, profiles and sessions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nomadcrew.core.ids import SessionId, UserId
from nomadcrew.core.names import display_name

ACCESS_LIFETIME = timedelta(minutes=15)
REFRESH_LIFETIME = timedelta(days=30)
REUSE_GRACE = timedelta(seconds=30)
CONFIRMATION_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Profile:
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


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this site. `confirmed` is True once the user has proven to receive mail at the address."""

    profile: Profile
    is_admin: bool = False
    confirmed: bool = False

    @property
    def user_id(self) -> UserId:
        return self.profile.id


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in device: the family of refresh tokens from one sign-in."""

    id: SessionId
    account: Account
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The result of signing in: tokens for the client to store, and the profile."""

    access_token: str
    refresh_token: str
    expires_in_s: int
    profile: Profile
