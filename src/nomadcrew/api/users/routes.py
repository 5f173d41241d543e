"""Users, their profiles and phones: /v1/users."""

from typing import Any

from nomadcrew.api.users.bodies import (
    ContactEmailIn,
    ContactEmailView,
    FoundUsers,
    PreferencesSaved,
    PrivacyView,
    ProfileChangeIn,
    UserPage,
    UserPagination,
    UserProfile,
    found_user,
    own_profile,
    preferences_saved,
    privacy_view,
    public_profile,
    username_in,
)
from nomadcrew.api.users.push_tokens import PushTokenGoneIn, PushTokenIn, PushTokenView, push_token_view
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import PushTokenId, TripId, UserId, parse_uuid
from nomadcrew.core.pages import After
from nomadcrew.core.retention import PERIODS
from nomadcrew.core.users import profiles as service
from nomadcrew.core.users.model import Profile
from nomadcrew.core.versions import Versioned
from nomadcrew.web import pages
from nomadcrew.web.call import Call, Reply, whole_number
from nomadcrew.web.etags import based_on_match
from nomadcrew.web.routes import Auth, Param, Routes

routes = Routes(
    "users",
    ports=(
        "idempotency",
        "limits",
        "open_sessions",
        "outbox",
        "private_addresses",
        "profiles",
        "push_tokens",
        "versions",
    ),
)
MAX_OFFSET = 1_000_000


def user_id(call: Call) -> UserId:
    """The user id in the path.

    Raises:
        Invalid: the id is malformed.
    """
    return UserId(call.id("userId", Invalid("Not a valid user id.", code="invalid_user_id")))


def view(profile: Profile, call: Call, *, may_see_email: bool) -> UserProfile:
    if profile.id == call.user_id:
        return own_profile(profile)
    return public_profile(profile, email=email_for(call, profile.id, profile.email, may_see=may_see_email))


def email_for(call: Call, user_id: UserId, email: str, *, may_see: bool) -> str:
    """The user's address for members of a common trip and administrators, a private address for other callers."""
    if may_see or call.claims.is_admin or user_id == call.user_id:
        return email
    return call.ports.private_addresses.address_of(user_id, call.user_id)


@routes.post("/v1/users/onboard", auth=Auth.TOKEN, bucket="sign_in", refusals=(400,), takes_keys=False)
async def onboard(call: Call) -> UserProfile:
    """Create or update the caller's profile.

    Optional body: `{"username": …}`. Default: the token's username. Any other body is ignored.
    """
    profile = await service.onboard(
        call.claims, username_in(call.request.body), profiles=call.ports.profiles, now=call.now
    )
    return own_profile(profile)


@routes.get("/v1/users/me", refusals=(404,), versioned=True)
async def get_me(call: Call) -> UserProfile:
    """Get the caller's profile.

    Answers 404 `profile_not_found` before onboarding; the other routes answer 401.
    """
    return own_profile(await service.my_profile(call.user_id, profiles=call.ports.profiles))


@routes.get("/v1/users/search", refusals=(400,), query=(
    Param("q", "string", "An address, the beginning of a username, or a part of a companion's name", required=True),
    Param("limit", "integer", "Page size, 1 to 20. Default: 10."),
    Param("tripId", "uuid", "A trip of the caller; its members are marked in the reply."),
))  # fmt: skip
async def search_users(call: Call) -> FoundUsers:
    """Search users, best matches first.

    Finds users by their whole address or the beginning of their username, and users on a common trip with the
    caller by a part of their name too. The `email` of other users is a private address, which invites them.
    """
    trip_id = parse_uuid(call.query("tripId") or "")
    users = await service.search_users(
        call.query("q"),
        call.user_id,
        trip_id=None if trip_id is None else TripId(trip_id),
        limit=call.count("limit", default=10, lowest=1, highest=20, over=10),
        profiles=call.ports.profiles,
    )
    return FoundUsers(
        [found_user(user, email_for(call, user.id, user.email, may_see=user.is_companion)) for user in users]
    )


@routes.put("/v1/users/me/contact-email", bucket="contact_email", takes_keys=False)
async def set_contact_email(call: Call, body: ContactEmailIn) -> ContactEmailView:
    """Set the email address for invitations to the caller.

    It counts once the link that is mailed to it was followed.
    """
    await service.set_contact_email(
        call.user_id, body.email, profiles=call.ports.profiles, new_id=call.ports.new_id, now=call.now
    )
    return ContactEmailView(body.email)


@routes.get("/v1/users/{userId}", refusals=(400, 404), versioned=True)
async def get_user(call: Call) -> UserProfile:
    """Get a user's profile.

    The `email` of users on no common trip with the caller is a private address, which invites them.
    """
    found = await service.view_profile(user_id(call), call.user_id, profiles=call.ports.profiles)
    return view(found.profile, call, may_see_email=found.is_companion)


@routes.get("/v1/users", refusals=(400, 403), query=(
    Param("limit", "integer", "Page size, 1 to 100. Default: 20."),
    Param("offset", "integer", "Number of users to skip, without `after`. Default: 0."),
    pages.AFTER,
))  # fmt: skip
async def list_users(call: Call) -> UserPage | Reply:
    """List all users, newest first.

    For system administrators only. The Link header leads to the next page.
    """
    limit = exact_number(call, "limit", default=20, lowest=1, highest=100)
    after = pages.after_of(call)
    offset = 0 if after else exact_number(call, "offset", default=0, lowest=0, highest=MAX_OFFSET)
    page = await service.list_users(
        call.user_id, is_admin=call.claims.is_admin, limit=limit, offset=offset, after=after,
        profiles=call.ports.profiles,
    )  # fmt: skip
    users = [view(profile, call, may_see_email=True) for profile in page.items]
    last = pages.last_of(page.items, limit, lambda one: After(one.created_at, one.id))
    return pages.paged(call, UserPage(users, UserPagination(page.total, offset, limit)), last)


@routes.put("/v1/users/{userId}", refusals=(403, 404), versioned=True)
async def update_user(call: Call, body: ProfileChangeIn) -> UserProfile:
    """Update a profile.

    Allowed for the profile's user and for system administrators.
    """
    async with based_on_match(call, Versioned.PROFILE, user_id(call), body.to_change(), get_user):
        profile = await service.change_profile(
            user_id(call), body.to_change(), call.claims, profiles=call.ports.profiles, now=call.now
        )
    return view(profile, call, may_see_email=True)


@routes.put("/v1/users/{userId}/preferences", refusals=(403, 404))
async def update_preferences(call: Call, body: dict[str, Any]) -> PreferencesSaved:
    """Update a user's preferences, key by key.

    A null removes a key. Allowed for the user and for system administrators.
    """
    profile = await service.change_preferences(
        user_id(call), body, call.claims, profiles=call.ports.profiles, now=call.now
    )
    return preferences_saved(profile)


@routes.post("/v1/users/sync", takes_keys=False)
async def sync_user(call: Call) -> UserProfile:
    """Get the caller's profile after signing in.

    The monolith's clients use this path.
    """
    return own_profile(await service.get_profile(call.user_id, call.user_id, profiles=call.ports.profiles))


@routes.post("/v1/users/push-token", auth=Auth.TOKEN, takes_keys=False)
async def register_push_token(call: Call, body: PushTokenIn) -> PushTokenView:
    """Register a phone for the caller's pushes.

    A phone has one user at a time: its previous user gets no more pushes there. The phone of a user without a
    profile gets pushes once there is one.
    """
    push_token = await call.ports.push_tokens.register(
        PushTokenId(call.ports.new_id()), body.token, body.device_type, call.user_id, now=call.now
    )
    return push_token_view(push_token)


@routes.delete("/v1/users/push-token", status=204, takes_keys=False)
async def deregister_push_token(call: Call, body: PushTokenGoneIn) -> None:
    """Unregister a phone of the caller."""
    await call.ports.push_tokens.deactivate(body.token, call.user_id, now=call.now)


@routes.delete("/v1/users/push-tokens", status=204, takes_keys=False)
async def deregister_push_tokens(call: Call) -> None:
    """Unregister all phones of the caller."""
    await call.ports.push_tokens.deactivate(None, call.user_id, now=call.now)


def exact_number(call: Call, name: str, *, default: int, lowest: int, highest: int) -> int:
    """A number in the query, without the corrections of `Call.count`.

    Raises:
        Invalid: the parameter is not a number, or out of bounds.
    """
    text = call.query(name)
    if text is None:
        return default
    value = whole_number(text)
    if value is None or not lowest <= value <= highest:
        raise Invalid(f"`{name}` must be a number from {lowest} to {highest}.", code="invalid_query")
    return value


@routes.get("/v1/privacy", auth=Auth.PUBLIC, statements=0, why="the periods are in memory")
async def get_privacy(_call: Call) -> PrivacyView:
    """List the data that the server deletes by itself, and when.

    All other data is stored until its user, or an admin of its trip, deletes it.
    """
    return privacy_view(PERIODS)
