"""Onboarding, one's own profile, and finding others."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from nomadcrew.core.errors import Invalid, NotFound, NotOnboarded
from nomadcrew.core.identity.claims import Claims
from nomadcrew.core.identity.errors import InvalidUsername
from nomadcrew.core.identity.model import Profile
from nomadcrew.core.identity.ports import FoundUser, ProfileChange, ProfilePage, Profiles
from nomadcrew.core.identity.rules import (
    MAX_NAME,
    MAX_PREFERENCES_BYTES,
    parse_avatar_url,
    parse_name,
    parse_username,
)
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.invitations.model import MAX_EMAIL, parse_email

MIN_SEARCH_BYTES = 2
MAX_SEARCH = 200


async def onboard(claims: Claims, username: str | None, *, profiles: Profiles, now: datetime) -> Profile:
    """Give the bearer of a token a profile, or bring it up to date; repeats change nothing.

    A username that was asked for replaces the stored one; the token's only names somebody new.

    Raises:
        InvalidUsername: there is none, or not of the right form.
        UsernameTaken, EmailTaken: another person's.
        EmailRequired: the token names no address, and there is no profile yet.
    """
    chosen = username if username is not None and username.strip() else None
    named = chosen or claims.username
    if named is None or not named.strip():
        raise InvalidUsername("A username is required.")
    first_name, last_name = _names(claims.metadata)
    profile = Profile(
        id=claims.user_id,
        email=_email(claims),
        username=parse_username(named),
        first_name=first_name,
        last_name=last_name,
        avatar_url=_avatar(claims.metadata),
        contact_email=None,
        location_privacy_preference=None,
        preferences={},
        created_at=now,
        updated_at=now,
    )
    return await profiles.onboard(profile, rename=chosen is not None)


async def my_profile(caller: UserId, *, profiles: Profiles) -> Profile:
    """The caller's own profile.

    Raises:
        NotFound: not onboarded. The app opens its username screen on 404, where other routes answer 401.
    """
    try:
        return await profiles.one(caller, caller)
    except NotOnboarded:
        raise NotFound("profile", caller, code="profile_not_found") from None


async def get_profile(user_id: UserId, caller: UserId, *, profiles: Profiles) -> Profile:
    return await profiles.one(user_id, caller)


async def search_people(
    text: str | None, caller: UserId, *, trip_id: TripId | None, limit: int, profiles: Profiles
) -> Sequence[FoundUser]:
    """People whose username, names or addresses contain `text`.

    Raises:
        Invalid: fewer than two bytes to look for.
    """
    wanted = (text or "").strip()
    if len((text or "").encode()) < MIN_SEARCH_BYTES or not wanted or "\x00" in wanted or len(wanted) > MAX_SEARCH:
        raise Invalid("`q` must have 2 to 200 characters.", code="invalid_query")
    return await profiles.search(wanted, caller, trip_id=trip_id, limit=limit)


async def list_people(
    caller: UserId, *, is_admin: bool, limit: int, offset: int, profiles: Profiles
) -> ProfilePage:
    """Everybody, newest first, for system administrators."""
    return await profiles.page(caller, is_admin=is_admin, limit=limit, offset=offset)


async def change_profile(
    user_id: UserId, change: ProfileChange, caller: Claims, *, profiles: Profiles, now: datetime
) -> Profile:
    """Change one's own profile, or anybody's as a system administrator.

    Raises:
        Invalid: a field has not the right form.
        DomainError: as `Profiles.change` says.
    """
    checked = ProfileChange(
        username=None if change.username is None else parse_username(change.username),
        first_name=None if change.first_name is None else parse_name("firstName", change.first_name),
        last_name=None if change.last_name is None else parse_name("lastName", change.last_name),
        avatar_url=None if change.avatar_url is None else parse_avatar_url(change.avatar_url),
        location_privacy_preference=change.location_privacy_preference,
    )
    return await profiles.change(user_id, checked, caller.user_id, is_admin=caller.is_admin, now=now)


async def change_preferences(
    user_id: UserId, preferences: dict[str, Any], caller: Claims, *, profiles: Profiles, now: datetime
) -> Profile:
    """Merge preferences key by key; a null removes one."""
    return await profiles.merge_preferences(user_id, preferences, caller.user_id, is_admin=caller.is_admin, now=now)


async def set_contact_email(caller: UserId, email: str, *, profiles: Profiles, now: datetime) -> None:
    """Keep an address the caller can be invited at, as they wrote it.

    Raises:
        Invalid: it has not the form of an address.
        EmailTaken: another person signs in with it.
    """
    parse_email(email)
    await profiles.set_contact_email(caller, email.strip(), now=now)


def preferences_too_large() -> Invalid:
    return Invalid(
        f"Preferences must not exceed {MAX_PREFERENCES_BYTES // 1024} KiB.", code="preferences_too_large"
    )


def _email(claims: Claims) -> str:
    """The token's address, or nothing where it names none that can be kept."""
    email = (claims.email or "").strip().lower()
    return email if len(email) <= MAX_EMAIL else ""


def _names(metadata: dict[str, Any]) -> tuple[str, str]:
    """First and last name as an identity provider gives them; what does not fit is left out."""
    first, last = _text(metadata, "firstName", "first_name"), _text(metadata, "lastName", "last_name")
    if not first and not last:
        first, _, last = _text(metadata, "full_name", "name").partition(" ")
    return _name_or_nothing(first), _name_or_nothing(last)


def _name_or_nothing(text: str) -> str:
    try:
        return parse_name("name", text[:MAX_NAME])
    except Invalid:
        return ""


def _avatar(metadata: dict[str, Any]) -> str:
    try:
        return parse_avatar_url(_text(metadata, "avatar_url", "picture"))
    except Invalid:
        return ""


def _text(metadata: dict[str, Any], *names: str) -> str:
    """The first of the values under `names` that is a text with something in it."""
    values = (metadata.get(name) for name in names)
    return next((value.strip() for value in values if isinstance(value, str) and value.strip()), "")
