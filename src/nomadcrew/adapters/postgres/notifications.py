"""Notifications on PostgreSQL."""

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
from msgspec import Struct

from nomadcrew.adapters.postgres.batching import Batcher
from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, after_columns, gate, json_param, statements
from nomadcrew.core.access import Access
from nomadcrew.core.errors import NotFound, NotOnboarded
from nomadcrew.core.ids import InvitationId, NotificationId, TripId, UserId
from nomadcrew.core.names import display_name
from nomadcrew.core.notifications.model import Draft, Facts, Notification, Recipient
from nomadcrew.core.notifications.preferences import ChatLevel, Preferences, TripPreferences
from nomadcrew.core.notifications.texts import message, notification_payload
from nomadcrew.core.pages import After

_SQL = statements("notifications")
_columns = itemgetter("id", "type", "metadata", "is_read", "created_at")
_decode = msgspec.json.Decoder(dict[str, Any]).decode
# The preferences of users who never set any, as most users.
_DEFAULTS = Preferences()


class _Question(Struct, frozen=True):
    """The arguments of `facts`; concurrent questions share a statement."""

    trip_id: TripId | None
    people: Sequence[UserId]
    invitation_id: InvitationId | None


class _Storing(Struct, frozen=True):
    """The arguments of `store`; the notifications of several events share a statement."""

    trip_id: TripId | None
    drafts: Sequence[Draft]
    caused_at: datetime
    now: datetime

    @property
    def first_id(self) -> NotificationId:
        """The key of a batch: events that renew one another's notifications have the same recipients."""
        return self.drafts[0].id

    def as_rows(self, n: int) -> list[dict[str, Any]]:
        return [
            {
                "n": n,
                "id": draft.id,
                "event_id": draft.event_id,
                "user_id": draft.user_id,
                "trip_id": self.trip_id,
                "type": draft.type,
                "metadata": draft.metadata,
                "payload": notification_payload(draft.id, draft.type, draft.metadata, self.now),
                "caused_at": self.caused_at,
                "now": self.now,
            }
            for draft in self.drafts
        ]


class PostgresNotifications:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._facts: Batcher[_Question, Facts | None] = Batcher(self._ask, alone=sql.in_transaction)
        self._store: Batcher[_Storing, int] = Batcher(
            self._store_all, alone=sql.in_transaction, key=attrgetter("first_id")
        )

    async def page(
        self, caller: UserId, *, is_read: bool | None, limit: int, offset: int = 0, after: After | None = None
    ) -> Sequence[Notification]:
        rows = await self._sql.fetch(
            _SQL["page"], caller=caller, is_read=is_read, limit=limit, offset=offset, **after_columns(after)
        )
        if not rows:
            raise NotOnboarded
        return [
            Notification(id_, type_, message(type_, _decode(metadata)), metadata, is_read, created_at)
            for id_, type_, metadata, is_read, created_at in map(_columns, rows)
            if id_ is not None
        ]

    async def count_unread(self, caller: UserId) -> int:
        return int(_one_row(await self._sql.fetch(_SQL["unread"], caller=caller))["unread"])

    async def mark_read(self, notification_id: NotificationId, caller: UserId, *, now: datetime) -> None:
        rows = await self._sql.fetch(_SQL["mark_read"], id=notification_id, caller=caller, now=now)
        _require_found(_one_row(rows), notification_id)

    async def mark_all_read(self, caller: UserId, *, now: datetime) -> int:
        return int(_one_row(await self._sql.fetch(_SQL["mark_all_read"], caller=caller, now=now))["count"])

    async def delete(self, notification_id: NotificationId, caller: UserId) -> None:
        rows = await self._sql.fetch(_SQL["delete"], id=notification_id, caller=caller)
        _require_found(_one_row(rows), notification_id)

    async def delete_all(self, caller: UserId) -> int:
        return int(_one_row(await self._sql.fetch(_SQL["delete_all"], caller=caller))["count"])

    async def trip_preferences(self, access: Access) -> TripPreferences:
        [row] = await self._sql.fetch(_SQL["trip_preferences"], **gate(access))
        raise_for_verdict(row["verdict"])
        return _trip_preferences(row)

    async def set_trip_preferences(self, access: Access, wanted: TripPreferences, *, now: datetime) -> None:
        [row] = await self._sql.fetch(
            _SQL["prefer"],
            **gate(access),
            muted_until=wanted.muted_until,
            chat=wanted.chat,
            now=now,
        )
        raise_for_verdict(row["verdict"])

    async def facts(
        self, trip_id: TripId | None, user_ids: Sequence[UserId], invitation_id: InvitationId | None
    ) -> Facts | None:
        return await self._facts(_Question(trip_id, user_ids, invitation_id))

    async def _ask(self, questions: Sequence[_Question]) -> Sequence[Facts | None]:
        # Questions about a trip are one: its answer has the users of all of them.
        people: dict[tuple[TripId | None, InvitationId | None], dict[UserId, None]] = {}
        for question in questions:
            users = people.setdefault((question.trip_id, question.invitation_id), {})
            users.update(dict.fromkeys(question.people))
        asked = [
            {"n": n, "trip_id": trip_id, "invitation_id": invitation_id, "people": list(users)}
            for n, ((trip_id, invitation_id), users) in enumerate(people.items())
        ]
        rows = await self._sql.fetch(_SQL["facts"], questions=json_param(asked))
        answers: dict[int, Facts] = {}
        for n, group in groupby(sorted(rows, key=itemgetter("n")), key=itemgetter("n")):
            answer = list(group)
            answers[n] = Facts(
                answer[0]["trip_name"] or "",
                {row["user_id"]: _person(row) for row in answer if row["user_id"] is not None},
            )
        numbers = {key: n for n, key in enumerate(people)}
        return [answers.get(numbers[question.trip_id, question.invitation_id]) for question in questions]

    async def store(
        self, trip_id: TripId | None, drafts: Sequence[Draft], *, caused_at: datetime, now: datetime
    ) -> int:
        return await self._store(_Storing(trip_id, drafts, caused_at, now)) if drafts else 0

    async def _store_all(self, batch: Sequence[_Storing]) -> Sequence[int]:
        drafts = [row for n, storing in enumerate(batch) for row in storing.as_rows(n)]
        rows = await self._sql.fetch(_SQL["store"], drafts=json_param(drafts))
        counts = {row["n"]: row["count"] for row in rows}
        return [counts.get(n, 0) for n in range(len(batch))]


def _person(row: Row) -> Recipient:
    return Recipient(
        name=display_name(row["first_name"], row["last_name"], row["username"]),
        is_member=row["is_member"],
        is_invited=row["is_invited"],
        has_phone=row["has_phone"],
        preferences=_DEFAULTS if row["preferences"] is None else Preferences.read(json.loads(row["preferences"])),
        trip=_trip_preferences(row),
    )


def _trip_preferences(row: Row) -> TripPreferences:
    chat = row["chat"]
    return TripPreferences(row["muted_until"], None if chat is None else ChatLevel(chat))


def _one_row(rows: Sequence[Row]) -> Row:
    if not rows:
        raise NotOnboarded
    return rows[0]


def _require_found(row: Row, notification_id: NotificationId) -> None:
    if not row["found"]:
        raise NotFound("notification", notification_id, code="notification_not_found")
