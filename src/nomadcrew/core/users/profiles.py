"""Onboarding, profiles and user search."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from nomadcrew.core.auth.errors import InvalidConfirmation
from nomadcrew.core.auth.ports import Codes
from nomadcrew.core.claims import Claims
from nomadcrew.core.emails import parse_own_email
from nomadcrew.core.errors import Invalid, NotFound, NotOnboarded
from nomadcrew.core.ids import EventId, NewId, TripId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.text import composed, search_key
from nomadcrew.core.users.errors import InvalidUsername, UsernameTaken
from nomadcrew.core.users.model import Profile
from nomadcrew.core.users.ports import (
    ContactEmailCodeId,
    FoundUser,
    ProfileChange,
    ProfileForCaller,
    ProfilePage,
    Profiles,
    UnconfirmedContactEmail,
)
from nomadcrew.core.users.preferences import checked_preferences
from nomadcrew.core.users.rules import MAX_NAME, parse_avatar_url, parse_name, parse_username, usernames_near

MIN_SEARCH = 2  # characters
MAX_SEARCH = 200


async def onboard(claims: Claims, username: str | None, *, profiles: Profiles, now: datetime) -> Profile:
    """Create or update the profile of a token's user. Safe to repeat.

    A given `username` replaces the stored one. The token's own username is used for a new profile only, and a near
    free one if it is taken, blank or no username: the app's registration screen checks nothing and cannot ask
    again. The tokens of its username screen have none.

    Raises:
        InvalidUsername: the username is missing or malformed.
        UsernameTaken, EmailTaken: another user has it.
        EmailRequired: there is no profile yet and the token has no email address.
    """
    own, chosen = (claims.username or "").strip(), (username or "").strip()
    if not own and not chosen and not isinstance(claims.metadata.get("username"), str):
        raise InvalidUsername("A username is required.")
    if chosen and chosen != own:
        return await profiles.onboard(_new_profile(claims, parse_username(chosen), now), rename=True)
    *near, last = usernames_near(own, claims.user_id)
    for candidate in near:
        try:
            return await profiles.onboard(_new_profile(claims, candidate, now), rename=False)
        except UsernameTaken:
            continue
    return await profiles.onboard(_new_profile(claims, last, now), rename=False)


def _new_profile(claims: Claims, username: str, now: datetime) -> Profile:
    first_name, last_name = _names(claims.metadata)
    return Profile(
        id=claims.user_id,
        email=_email(claims),
        username=username,
        first_name=first_name,
        last_name=last_name,
        avatar_url=_avatar(claims.metadata),
        contact_email=None,
        location_privacy_preference=None,
        preferences={},
        created_at=now,
        updated_at=now,
    )


async def my_profile(caller: UserId, *, profiles: Profiles) -> Profile:
    """The caller's own profile.

    Raises:
        NotFound: the caller has no profile. The app opens its username screen on this 404; other routes answer 401.
    """
    try:
        return await profiles.get(caller, caller)
    except NotOnboarded:
        raise NotFound("profile", caller, code="profile_not_found") from None


async def get_profile(user_id: UserId, caller: UserId, *, profiles: Profiles) -> Profile:
    return await profiles.get(user_id, caller)


async def view_profile(user_id: UserId, caller: UserId, *, profiles: Profiles) -> ProfileForCaller:
    """A user's profile, and whether the caller is on a common trip with the user."""
    return await profiles.view(user_id, caller)


async def search_users(
    text: str | None, caller: UserId, *, trip_id: TripId | None, limit: int, profiles: Profiles
) -> Sequence[FoundUser]:
    """Users whom the caller may find by `text`, as `Profiles.search` says.

    Raises:
        Invalid: the text is shorter than two characters, or too long.
    """
    part = composed(text or "")
    if not MIN_SEARCH <= len(part) <= MAX_SEARCH or "\x00" in part or not search_key(part):
        raise Invalid("`q` must have 2 to 200 characters.", code="invalid_query")
    return await profiles.search(part, caller, trip_id=trip_id, limit=limit)


async def list_users(
    caller: UserId, *, is_admin: bool, limit: int, offset: int = 0, after: After | None = None, profiles: Profiles
) -> ProfilePage:
    """All users, newest first, for system administrators."""
    return await profiles.page(caller, is_admin=is_admin, limit=limit, offset=offset, after=after)


async def change_profile(
    user_id: UserId, change: ProfileChange, caller: Claims, *, profiles: Profiles, now: datetime
) -> Profile:
    """Change the caller's own profile; a system administrator may change any profile.

    Raises:
        Invalid: a field is malformed.
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
    """Merge preferences key by key; a null removes a key.

    Raises:
        Invalid: a switch that the product obeys has a value that is not one.
        DomainError: as `Profiles.merge_preferences` says.
    """
    checked = checked_preferences(preferences)
    return await profiles.merge_preferences(user_id, checked, caller.user_id, is_admin=caller.is_admin, now=now)


async def set_contact_email(
    caller: UserId, email: str, *, profiles: Profiles, new_id: NewId, now: datetime
) -> None:
    """Store an address for invitations to the caller.

    It counts once the link that is mailed to it was followed.

    Raises:
        Invalid: the address is malformed.
        EmailTaken: another user signs in with it.
    """
    await profiles.set_contact_email(
        caller, parse_own_email(email), code_id=ContactEmailCodeId(new_id()), event_id=EventId(new_id()), now=now
    )


async def unconfirmed_contact_email(code: str, *, profiles: Profiles, codes: Codes) -> UnconfirmedContactEmail:
    """The contact address that a mailed code would confirm.

    Raises:
        InvalidConfirmation: the code is malformed, or its address was replaced or is confirmed.
    """
    found = await profiles.get_unconfirmed_contact_email(_code_id(code, codes))
    if found is None:
        raise InvalidConfirmation
    return found


async def confirm_contact_email(
    code: str, *, profiles: Profiles, codes: Codes, now: datetime
) -> UnconfirmedContactEmail:
    """Confirm the contact address of a mailed code. Safe to repeat.

    Raises:
        InvalidConfirmation: the code is malformed, or its address was replaced.
    """
    confirmed = await profiles.confirm_contact_email(_code_id(code, codes), now=now)
    if confirmed is None:
        raise InvalidConfirmation
    return confirmed


def _code_id(code: str, codes: Codes) -> ContactEmailCodeId:
    return ContactEmailCodeId(codes.read_confirmation_code(code))


def _email(claims: Claims) -> str:
    """The token's email address; empty if it is missing or malformed."""
    try:
        return parse_own_email(claims.email or "")
    except Invalid:
        return ""


def _names(metadata: dict[str, Any]) -> tuple[str, str]:
    """First and last name from an identity provider's metadata; malformed names are dropped."""
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
    """The first value under `names` that is a text and not blank; empty without one."""
    values = (metadata.get(name) for name in names)
    return next((value.strip() for value in values if isinstance(value, str) and value.strip()), "")
