"""Accounts, profiles and what a verified token says."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from nomadcrew.core.ids import SessionId, UserId

ACCESS_LIFETIME = timedelta(minutes=15)
REFRESH_LIFETIME = timedelta(days=30)
REUSE_GRACE = timedelta(seconds=30)
CONFIRMATION_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified access token says about its bearer.

    `metadata` is the issuer's `user_metadata`; tokens of our own carry none.
    """

    user_id: UserId
    expires_at: datetime
    email: str | None = None
    username: str | None = None
    is_admin: bool = False
    session_id: SessionId | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    """A person, as the people they travel with see them."""

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
    """Somebody who may sign in here; `confirmed` where they showed that mail to their address reaches them."""

    profile: Profile
    is_admin: bool = False
    confirmed: bool = False

    @property
    def user_id(self) -> UserId:
        return self.profile.id


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in device: the family of refresh tokens that descend from one sign-in."""

    id: SessionId
    account: Account
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a client keeps after signing in."""

    access_token: str
    refresh_token: str
    expires_in_s: int
    profile: Profile


def display_name(first_name: str, last_name: str, username: str) -> str:
    """First and last name, or the one there is, or the username."""
    return f"{first_name} {last_name}".strip() or username
