"""Unconfirmed registrations, in SQL and in a user pool."""

from datetime import datetime
from typing import Any
from uuid import UUID

from nomadcrew.adapters.aws.cognito.user_pool import UserPool, delete_user
from nomadcrew.adapters.postgres.accounts import PostgresUnconfirmedRegistrations
from nomadcrew.adapters.postgres.sql import Sql
from nomadcrew.core.auth.model import CONFIRMATION_LIFETIME
from nomadcrew.core.ids import UserId, parse_uuid
from nomadcrew.core.retention import REGISTRATION_RETENTION

PAGE = 60
MAX_PAGES = 20


class CognitoUnconfirmedRegistrations:
    """`UnconfirmedRegistrations` on SQL and a user pool."""

    def __init__(self, pool: UserPool, sql: Sql) -> None:
        self._pool = pool
        self._registrations = PostgresUnconfirmedRegistrations(sql)

    async def delete_expired(self, *, now: datetime) -> int:
        deleted = await self._registrations.delete_expired(now=now)
        await self._forget_users(before=now - CONFIRMATION_LIFETIME - REGISTRATION_RETENTION)
        return deleted

    async def _forget_users(self, *, before: datetime) -> None:
        """Delete unconfirmed users without a row in SQL; at most `MAX_PAGES` pages per run."""
        following: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            page = await self._pool.call(
                "ListUsers", Filter='cognito:user_status = "UNCONFIRMED"', Limit=PAGE, **following
            )
            old = [user_id for user in page.get("Users", []) if (user_id := _expired(user, before)) is not None]
            in_use = await self._registrations.in_use(old) if old else set()
            for user_id in old:
                if user_id not in in_use:
                    await delete_user(self._pool, UserId(user_id))
            token = page.get("PaginationToken")
            if token is None:
                return
            following = {"PaginationToken": token}


def _expired(user: dict[str, Any], before: datetime) -> UUID | None:
    """The id of a listed user, if it is unconfirmed and old enough to be deleted."""
    if user.get("UserStatus") != "UNCONFIRMED" or float(user.get("UserCreateDate", "inf")) > before.timestamp():
        return None
    return parse_uuid(str(user.get("Username")))
