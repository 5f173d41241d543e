"""Profiles on PostgreSQL."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Duplicate, Row, Sql, after_columns, json_param, statements
from nomadcrew.adapters.postgres.text_keys import search_columns
from nomadcrew.core.errors import DomainError, NotFound, Unavailable
from nomadcrew.core.ids import EventId, PictureId, TripId, UserId
from nomadcrew.core.mail import MAX_MAILS, recipient_key
from nomadcrew.core.pages import After
from nomadcrew.core.retention import MAIL_COUNT_RETENTION
from nomadcrew.core.text import comparison_key, email_key, search_key
from nomadcrew.core.users.errors import AdminOnly, EmailRequired, EmailTaken, NotSelf, UsernameTaken
from nomadcrew.core.users.model import Profile
from nomadcrew.core.users.ports import (
    ContactEmailCodeId,
    FoundUser,
    ProfileChange,
    ProfileForCaller,
    ProfilePage,
    UnconfirmedContactEmail,
)
from nomadcrew.core.users.rules import MAX_PREFERENCES_BYTES, preferences_too_large

_SQL = statements("profiles")
# Between two mails about one contact address of one user.
MAIL_PAUSE = timedelta(minutes=5)
_REFUSALS: dict[str, Callable[[], DomainError]] = {
    "admin_only": AdminOnly,
    "not_self": NotSelf,
    "email_required": EmailRequired,
    "email_taken": EmailTaken,
    "username_taken": UsernameTaken,
    "preferences_too_large": preferences_too_large,
    # Its own class would load the model of pictures into every function with profiles.
    "image_not_found": lambda: NotFound("picture", code="image_not_found"),
}


class PostgresProfiles:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def onboard(self, profile: Profile, *, rename: bool = True) -> Profile:
        try:
            [row] = await self._sql.fetch(
                _SQL["onboard"],
                id=profile.id,
                email=profile.email,
                email_key=email_key(profile.email),
                username=profile.username,
                username_key=comparison_key(profile.username),
                first_name=profile.first_name,
                last_name=profile.last_name,
                **search_columns(
                    username=profile.username, first_name=profile.first_name, last_name=profile.last_name
                ),
                avatar_url=profile.avatar_url,
                rename=rename,
                now=profile.updated_at,
            )
        except Duplicate as race:
            # Another user took the name or address at the same time, or the same onboarding was sent twice. The
            # client retries and gets the exact refusal; inside a transaction, the check could not be repeated.
            raise Unavailable(code="busy") from race
        return _profile_or_refusal(row)

    async def get(self, user_id: UserId, caller: UserId) -> Profile:
        [row] = await self._sql.fetch(_SQL["one"], id=user_id, caller=caller)
        return _profile_or_refusal(row)

    async def forget(self, user_id: UserId) -> None:
        """Do nothing: there is no copy."""

    async def view(self, user_id: UserId, caller: UserId) -> ProfileForCaller:
        [row] = await self._sql.fetch(_SQL["view"], id=user_id, caller=caller)
        return ProfileForCaller(_profile_or_refusal(row), row["is_companion"])

    async def search(self, text: str, caller: UserId, *, trip_id: TripId | None, limit: int) -> Sequence[FoundUser]:
        literal = _literal(search_key(text))
        rows = await self._sql.fetch(
            _SQL["search"],
            # Two letters have no trigram, unless they begin a word: then the index covers them.
            pattern=f"%{literal}%" if len(text) >= 3 else f"% {literal}%",
            prefix=f"{literal}%",
            email_key=email_key(text),
            caller=caller,
            trip_id=trip_id,
            limit=limit,
        )
        _raise_for_verdict(rows[0]["verdict"])
        return [_found_user(row) for row in rows if row["id"] is not None]

    async def page(
        self, caller: UserId, *, is_admin: bool, limit: int, offset: int = 0, after: After | None = None
    ) -> ProfilePage:
        rows = await self._sql.fetch(
            _SQL["page"], caller=caller, is_admin=is_admin, limit=limit, offset=offset, **after_columns(after)
        )
        _raise_for_verdict(rows[0]["verdict"])
        return ProfilePage([profile_of(row) for row in rows if row["id"] is not None], rows[0]["total"])

    async def change(
        self, user_id: UserId, change: ProfileChange, caller: UserId, *, is_admin: bool, now: datetime
    ) -> Profile:
        try:
            [row] = await self._sql.fetch(
                _SQL["change"],
                id=user_id,
                username=change.username,
                username_key=None if change.username is None else comparison_key(change.username),
                first_name=change.first_name,
                last_name=change.last_name,
                **search_columns(
                    username=change.username, first_name=change.first_name, last_name=change.last_name
                ),
                avatar_url=change.avatar_url,
                location_privacy_preference=change.location_privacy_preference,
                caller=caller,
                is_admin=is_admin,
                now=now,
            )
        except Duplicate as duplicate:
            raise UsernameTaken from duplicate
        return _profile_or_refusal(row)

    async def set_avatar(
        self, caller: UserId, picture_id: PictureId, avatar_url: str, *, event_id: EventId, now: datetime
    ) -> Profile:
        [row] = await self._sql.fetch(
            _SQL["set_avatar"],
            caller=caller,
            picture_id=picture_id,
            avatar_url=avatar_url,
            event_id=event_id,
            now=now,
        )
        return _profile_or_refusal(row)

    async def merge_preferences(
        self, user_id: UserId, preferences: dict[str, Any], caller: UserId, *, is_admin: bool, now: datetime
    ) -> Profile:
        [row] = await self._sql.fetch(
            _SQL["merge_preferences"],
            id=user_id,
            preferences=json_param(preferences),
            caller=caller,
            is_admin=is_admin,
            max_bytes=MAX_PREFERENCES_BYTES,
            now=now,
        )
        return _profile_or_refusal(row)

    async def merge_notification_preferences(
        self, switches: Mapping[str, Any], details: Mapping[str, Any], caller: UserId, *, now: datetime
    ) -> Profile:
        [row] = await self._sql.fetch(
            _SQL["merge_notification_preferences"],
            switches=json_param(switches),
            details=json_param(details),
            caller=caller,
            max_bytes=MAX_PREFERENCES_BYTES,
            now=now,
        )
        return _profile_or_refusal(row)

    async def set_contact_email(
        self, caller: UserId, email: str, *, code_id: ContactEmailCodeId, event_id: EventId, now: datetime
    ) -> None:
        [row] = await self._sql.fetch(
            _SQL["set_contact_email"],
            caller=caller,
            email=email,
            email_key=email_key(email),
            code_id=code_id,
            event_id=event_id,
            now=now,
            mailed_before=now - MAIL_PAUSE,
            counted_since=now - MAIL_COUNT_RETENTION,
            max_mails=MAX_MAILS,
            recipient=recipient_key(email),
        )
        _raise_for_verdict(row["verdict"])

    async def get_unconfirmed_contact_email(self, code_id: ContactEmailCodeId) -> UnconfirmedContactEmail | None:
        rows = await self._sql.fetch(_SQL["unconfirmed_contact_email"], code_id=code_id)
        return _contact_email(rows[0]) if rows else None

    async def confirm_contact_email(
        self, code_id: ContactEmailCodeId, *, now: datetime
    ) -> UnconfirmedContactEmail | None:
        rows = await self._sql.fetch(_SQL["confirm_contact_email"], code_id=code_id, now=now)
        return _contact_email(rows[0]) if rows else None


def profile_of(row: Row) -> Profile:
    """The profile in a row with the columns of `user_profiles`."""
    return Profile(
        id=row["id"],
        email=row["email"],
        username=row["username"],
        first_name=row["first_name"],
        last_name=row["last_name"],
        avatar_url=row["avatar_url"],
        contact_email=row["contact_email"],
        location_privacy_preference=row["location_privacy_preference"],
        preferences=msgspec.json.decode(row["preferences"], type=dict[str, Any]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _literal(text: str) -> str:
    """The pattern of LIKE that matches the text only."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _profile_or_refusal(row: Row) -> Profile:
    _raise_for_verdict(row["verdict"])
    return profile_of(row)


def _raise_for_verdict(verdict: str) -> None:
    if verdict in _REFUSALS:
        raise _REFUSALS[verdict]()
    raise_for_verdict(verdict)


def _found_user(row: Row) -> FoundUser:
    return FoundUser(
        id=row["id"],
        email=row["email"],
        username=row["username"],
        first_name=row["first_name"],
        last_name=row["last_name"],
        avatar_url=row["avatar_url"],
        is_member=row["is_member"],
        is_companion=row["is_companion"],
    )


def _contact_email(row: Row) -> UnconfirmedContactEmail:
    return UnconfirmedContactEmail(row["id"], row["username"], row["contact_email"])
