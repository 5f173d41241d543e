"""People and their profiles: /v1/users."""

from typing import Any

from nomadcrew.api.users.bodies import (
    ContactEmailIn,
    ContactEmailView,
    FoundUsers,
    PreferencesSaved,
    ProfileChangeIn,
    UserPage,
    UserPagination,
    UserProfile,
    found_user,
    own_profile,
    preferences_saved,
    public_profile,
    username_in,
)
from nomadcrew.api.users.push_tokens import PushTokenGoneIn, PushTokenIn, PushTokenView, push_token_view
from nomadcrew.core.auth.model import Profile
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import PushTokenId, TripId, UserId, parse_uuid
from nomadcrew.core.users import profiles as service
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Auth, Param, Routes

routes = Routes("users", ports=("limits", "outbox", "profiles", "push_tokens", "replies"))
MAX_OFFSET = 1_000_000


def user_id(call: Call) -> UserId:
    """The person in the path."""
    return UserId(call.id("userId", Invalid("That is no user's id.", code="invalid_user_id")))


def view(profile: Profile, call: Call) -> UserProfile:
    return own_profile(profile) if profile.id == call.me else public_profile(profile)


@routes.post("/v1/users/onboard", auth=Auth.TOKEN, bucket="sign_in", refusals=(400,))
async def onboard(call: Call) -> UserProfile:
    """Create my profile, or bring it up to date.

    Takes an optional `{"username": …}`; without one it is the token's. Whatever else is sent is ignored.
    """
    profile = await service.onboard(
        call.caller, username_in(call.request.body), profiles=call.ports.profiles, now=call.now
    )
    return own_profile(profile)


@routes.get("/v1/users/me", refusals=(404,))
async def get_me(call: Call) -> UserProfile:
    """Show my profile.

    404 `profile_not_found` before onboarding, where the other routes answer 401.
    """
    return own_profile(await service.my_profile(call.me, profiles=call.ports.profiles))


@routes.get("/v1/users/search", refusals=(400,), query=(
    Param("q", "string", "Part of a username, a name or an address; of two letters, its beginning.", required=True),
    Param("limit", "integer", "How many, 1 to 20; 10 unless told."),
    Param("tripId", "uuid", "A trip of mine, whose members are marked."),
))  # fmt: skip
async def search_users(call: Call) -> FoundUsers:
    """Find people, best matches first."""
    trip_id = parse_uuid(call.query("tripId") or "")
    found = await service.search_people(
        call.query("q"),
        call.me,
        trip_id=None if trip_id is None else TripId(trip_id),
        limit=call.count("limit", default=10, lowest=1, highest=20, over=10),
        profiles=call.ports.profiles,
    )
    return FoundUsers([found_user(user) for user in found])


@routes.put("/v1/users/me/contact-email")
async def set_contact_email(call: Call, body: ContactEmailIn) -> ContactEmailView:
    """Set the address I can be invited at."""
    await service.set_contact_email(call.me, body.email, profiles=call.ports.profiles, now=call.now)
    return ContactEmailView(body.email)


@routes.get("/v1/users/{userId}", refusals=(400, 404))
async def get_user(call: Call) -> UserProfile:
    """Show a person's profile."""
    return view(await service.get_profile(user_id(call), call.me, profiles=call.ports.profiles), call)


@routes.get("/v1/users", refusals=(400, 403), query=(
    Param("limit", "integer", "How many, 1 to 100; 20 unless told."),
    Param("offset", "integer", "How many to pass over; 0 unless told."),
))  # fmt: skip
async def list_users(call: Call) -> UserPage:
    """List everybody, newest first.

    For system administrators.
    """
    limit = exact_number(call, "limit", default=20, lowest=1, highest=100)
    offset = exact_number(call, "offset", default=0, lowest=0, highest=MAX_OFFSET)
    page = await service.list_people(
        call.me, is_admin=call.caller.is_admin, limit=limit, offset=offset, profiles=call.ports.profiles
    )
    return UserPage([view(profile, call) for profile in page.items], UserPagination(page.total, offset, limit))


@routes.put("/v1/users/{userId}", refusals=(403, 404))
async def update_user(call: Call, body: ProfileChangeIn) -> UserProfile:
    """Change my profile.

    System administrators may change anybody's.
    """
    profile = await service.change_profile(
        user_id(call), body.to_change(), call.caller, profiles=call.ports.profiles, now=call.now
    )
    return view(profile, call)


@routes.put("/v1/users/{userId}/preferences", refusals=(403, 404))
async def update_preferences(call: Call, body: dict[str, Any]) -> PreferencesSaved:
    """Merge my preferences, key by key.

    A null removes a key. System administrators may change anybody's.
    """
    profile = await service.change_preferences(
        user_id(call), body, call.caller, profiles=call.ports.profiles, now=call.now
    )
    return preferences_saved(profile)


@routes.post("/v1/users/sync")
async def sync_user(call: Call) -> UserProfile:
    """Show my profile, as the monolith's clients ask for it after signing in."""
    return own_profile(await service.get_profile(call.me, call.me, profiles=call.ports.profiles))


@routes.post("/v1/users/push-token")
async def register_push_token(call: Call, body: PushTokenIn) -> PushTokenView:
    """Have my pushes sent to this phone.

    A phone is one person's at a time: whoever had it before gets no more there.
    """
    kept = await call.ports.push_tokens.register(
        PushTokenId(call.ports.new_id()), body.token, body.device_type, call.me, now=call.now
    )
    return push_token_view(kept)


@routes.delete("/v1/users/push-token", status=204)
async def deregister_push_token(call: Call, body: PushTokenGoneIn) -> None:
    """Send nothing more to this phone."""
    await call.ports.push_tokens.deactivate(body.token, call.me, now=call.now)


@routes.delete("/v1/users/push-tokens", status=204)
async def deregister_push_tokens(call: Call) -> None:
    """Send nothing more to any phone of mine."""
    await call.ports.push_tokens.deactivate(None, call.me, now=call.now)


def exact_number(call: Call, name: str, *, default: int, lowest: int, highest: int) -> int:
    """A number in the query that is refused, not mended, when it does not fit.

    Raises:
        Invalid: it is no number, or out of bounds.
    """
    text = call.query(name)
    if text is None:
        return default
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else -1
    if not lowest <= value <= highest:
        raise Invalid(f"{name} is a number from {lowest} to {highest}.", code="invalid_query")
    return value
