"""A cache of users' own profiles in DynamoDB (`UserProfiles`), for an hour; SQL is authoritative.

An item has the profile and a `generation`. A writer removes the profile and sets a new generation after SQL has the
change. A reader that misses the cache stores the profile from SQL only if the generation is still the one it read.
So a slow reader cannot overwrite a newer profile, whatever the clocks say.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import EventId, PictureId, TripId, UserId
from nomadcrew.core.pages import After
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

log = logging.getLogger("nomadcrew.profiles")

LIFETIME_S = 60 * 60
TIMEOUT_S = 0.5  # SQL is about as fast
REST_S = 10  # after an outage, reads skip the cache for this long; writers still invalidate it
# Every start of the app repeats the onboarding; only one that changed the profile has updated its time.
JUST_NOW = timedelta(seconds=1)


class CachedProfiles:
    """`Profiles` with a cache for the caller's own. If the cache fails, all calls go to SQL.

    If a change could not invalidate the cache, other users see it at once, and the user within an hour.
    """

    def __init__(self, profiles: Profiles, client: AwsClient, table: str, *, clock: Clock) -> None:
        self._profiles = profiles
        self._client = client
        self._table = table
        self._clock = clock
        self._skip_until_s = 0.0

    async def onboard(self, profile: Profile, *, rename: bool = True) -> Profile:
        stored = await self._profiles.onboard(profile, rename=rename)
        if stored.updated_at > profile.updated_at - JUST_NOW:
            await self._invalidate(stored.id)
        return stored

    async def get(self, user_id: UserId, caller: UserId) -> Profile:
        if user_id != caller or self._clock().timestamp() < self._skip_until_s:
            return await self._profiles.get(user_id, caller)
        item = await self._get(user_id)
        cached = None if item is None else self._profile_in(item)
        if cached is not None:
            return cached
        profile = await self._profiles.get(user_id, caller)
        if item is not None:
            await self._put(profile, seen=item.get("generation"))
        return profile

    async def forget(self, user_id: UserId) -> None:
        await self._invalidate(user_id)

    async def view(self, user_id: UserId, caller: UserId) -> ProfileForCaller:
        return await self._profiles.view(user_id, caller)

    async def search(self, text: str, caller: UserId, *, trip_id: TripId | None, limit: int) -> Sequence[FoundUser]:
        return await self._profiles.search(text, caller, trip_id=trip_id, limit=limit)

    async def page(
        self, caller: UserId, *, is_admin: bool, limit: int, offset: int = 0, after: After | None = None
    ) -> ProfilePage:
        return await self._profiles.page(caller, is_admin=is_admin, limit=limit, offset=offset, after=after)

    async def change(
        self, user_id: UserId, change: ProfileChange, caller: UserId, *, is_admin: bool, now: datetime
    ) -> Profile:
        changed = await self._profiles.change(user_id, change, caller, is_admin=is_admin, now=now)
        await self._invalidate(user_id)
        return changed

    async def set_avatar(
        self, caller: UserId, picture_id: PictureId, avatar_url: str, *, event_id: EventId, now: datetime
    ) -> Profile:
        changed = await self._profiles.set_avatar(caller, picture_id, avatar_url, event_id=event_id, now=now)
        await self._invalidate(caller)
        return changed

    async def merge_preferences(
        self, user_id: UserId, preferences: dict[str, Any], caller: UserId, *, is_admin: bool, now: datetime
    ) -> Profile:
        merged = await self._profiles.merge_preferences(user_id, preferences, caller, is_admin=is_admin, now=now)
        await self._invalidate(user_id)
        return merged

    async def merge_notification_preferences(
        self, switches: Mapping[str, Any], details: Mapping[str, Any], caller: UserId, *, now: datetime
    ) -> Profile:
        merged = await self._profiles.merge_notification_preferences(switches, details, caller, now=now)
        await self._invalidate(caller)
        return merged

    async def set_contact_email(
        self, caller: UserId, email: str, *, code_id: ContactEmailCodeId, event_id: EventId, now: datetime
    ) -> None:
        await self._profiles.set_contact_email(caller, email, code_id=code_id, event_id=event_id, now=now)
        await self._invalidate(caller)

    async def get_unconfirmed_contact_email(self, code_id: ContactEmailCodeId) -> UnconfirmedContactEmail | None:
        return await self._profiles.get_unconfirmed_contact_email(code_id)

    async def confirm_contact_email(
        self, code_id: ContactEmailCodeId, *, now: datetime
    ) -> UnconfirmedContactEmail | None:
        return await self._profiles.confirm_contact_email(code_id, now=now)

    async def _get(self, user_id: UserId) -> dict[str, Any] | None:
        """The item, empty if there is none; None in an outage."""
        found = await self._call("GetItem", Key=_key(user_id), ConsistentRead=True)
        return None if found is None else found.get("Item", {})

    def _profile_in(self, item: dict[str, Any]) -> Profile | None:
        # DynamoDB deletes expired items days later.
        if "profile" not in item or int(item["ttl"]["N"]) <= self._clock().timestamp():
            return None
        try:
            return msgspec.json.decode(item["profile"]["S"], type=Profile)
        except msgspec.MsgspecError:
            return None  # written by another version

    async def _put(self, profile: Profile, *, seen: dict[str, str] | None) -> None:
        """Cache a profile, if its generation is still `seen`."""
        item = {
            **_key(profile.id),
            "profile": {"S": msgspec.json.encode(profile).decode()},
            "generation": seen or _generation(),
            "ttl": self._ttl(),
        }
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(userId)"}
        if seen is not None:
            condition = {
                "ConditionExpression": "generation = :seen",
                "ExpressionAttributeValues": {":seen": seen},
            }
        await self._call("PutItem", Item=item, **condition)

    async def _invalidate(self, user_id: UserId) -> None:
        await self._call(
            "UpdateItem",
            Key=_key(user_id),
            UpdateExpression="SET generation = :next, #ttl = :ttl REMOVE profile",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues={":next": _generation(), ":ttl": self._ttl()},
        )

    async def _call(self, operation: str, **body: Any) -> dict[str, Any] | None:
        """The response; None if a condition failed or the cache is unavailable."""
        try:
            return await self._client.call(operation, {"TableName": self._table, **body}, timeout_s=TIMEOUT_S)
        except AwsError as refused:
            if refused.code == "ConditionalCheckFailedException":
                return None
            log.warning("profile cache refused", extra={"fields": {"reason": refused.code}})
        except Unavailable as outage:
            log.warning("profile cache unreachable", extra={"fields": {"reason": outage.details}})
        self._skip_until_s = self._clock().timestamp() + REST_S
        return None

    def _ttl(self) -> dict[str, str]:
        return {"N": str(int(self._clock().timestamp()) + LIFETIME_S)}


def _key(user_id: UserId) -> dict[str, dict[str, str]]:
    return {"userId": {"S": str(user_id)}}


def _generation() -> dict[str, str]:
    return {"S": uuid4().hex}
