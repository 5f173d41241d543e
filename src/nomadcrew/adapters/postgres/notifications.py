"""Notifications on PostgreSQL."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from nomadcrew.adapters.postgres.sql import Row, Sql, statements
from nomadcrew.core.errors import NotFound, NotOnboarded
from nomadcrew.core.ids import InvitationId, NotificationId, TripId, UserId
from nomadcrew.core.names import display_name
from nomadcrew.core.notifications.model import Draft, Facts, Notification, message

_SQL = statements("notifications")


class PostgresNotifications:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def page(
        self, caller: UserId, *, is_read: bool | None, limit: int, offset: int
    ) -> Sequence[Notification]:
        rows = await self._sql.fetch(_SQL["page"], caller=caller, is_read=is_read, limit=limit, offset=offset)
        if not rows:
            raise NotOnboarded
        return [
            Notification(row["id"], row["type"], json.loads(row["metadata"]), row["is_read"], row["created_at"])
            for row in rows
            if row["id"] is not None
        ]

    async def unread(self, caller: UserId) -> int:
        return int(_own(await self._sql.fetch(_SQL["unread"], caller=caller))["unread"])

    async def mark_read(self, notification_id: NotificationId, caller: UserId, *, now: datetime) -> None:
        rows = await self._sql.fetch(_SQL["mark_read"], id=notification_id, caller=caller, now=now)
        _found(_own(rows), notification_id)

    async def mark_all_read(self, caller: UserId, *, now: datetime) -> int:
        return int(_own(await self._sql.fetch(_SQL["mark_all_read"], caller=caller, now=now))["count"])

    async def delete(self, notification_id: NotificationId, caller: UserId) -> None:
        rows = await self._sql.fetch(_SQL["delete"], id=notification_id, caller=caller)
        _found(_own(rows), notification_id)

    async def delete_all(self, caller: UserId) -> int:
        return int(_own(await self._sql.fetch(_SQL["delete_all"], caller=caller))["count"])

    async def facts(self, trip_id: TripId, people: Sequence[UserId]) -> Facts | None:
        rows = await self._sql.fetch(
            _SQL["facts"], trip_id=trip_id, people=json.dumps([str(person) for person in people])
        )
        if not rows:
            return None
        known = [row for row in rows if row["user_id"] is not None]
        return Facts(
            trip_name=rows[0]["trip_name"],
            member_ids=[row["user_id"] for row in known if row["is_member"]],
            names={
                row["user_id"]: display_name(row["first_name"], row["last_name"], row["username"]) for row in known
            },
        )

    async def invitee(self, invitation_id: InvitationId) -> UserId | None:
        rows = await self._sql.fetch(_SQL["invitee"], id=invitation_id)
        return rows[0]["invitee_id"] if rows else None

    async def store(self, trip_id: TripId, drafts: Sequence[Draft], *, now: datetime) -> int:
        [row] = await self._sql.fetch(
            _SQL["store"],
            trip_id=trip_id,
            drafts=json.dumps([_draft(draft, now) for draft in drafts]),
            now=now,
        )
        return int(row["count"])


def _draft(draft: Draft, now: datetime) -> dict[str, Any]:
    payload = {
        "id": str(draft.id),
        "message": message(draft.type, draft.metadata),
        "read": False,
        "createdAt": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "type": draft.type,
        "metadata": draft.metadata,
    }
    return {
        "id": str(draft.id),
        "event_id": str(draft.event_id),
        "user_id": str(draft.user_id),
        "type": draft.type,
        "metadata": draft.metadata,
        "payload": payload,
    }


def _own(rows: Sequence[Row]) -> Row:
    if not rows:
        raise NotOnboarded
    return rows[0]


def _found(row: Row, notification_id: NotificationId) -> None:
    if not row["found"]:
        raise NotFound("notification", notification_id, code="notification_not_found")
