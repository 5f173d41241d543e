"""The outbox on PostgreSQL: stored events, and the methods of its publisher."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from nomadcrew.adapters.postgres.sql import Row, Sql, json_param, statements
from nomadcrew.core.errors import Gone, Invalid, NotOnboarded
from nomadcrew.core.events import (
    CONSUMERS,
    HOOKED,
    ILLUSTRATED,
    MIRRORED,
    NO_CURSOR,
    NOTIFICATIONS,
    PASSING,
    TOMBSTONE,
    WEBHOOKS,
    Event,
    EventPage,
    consumers_of,
)
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7_time_s
from nomadcrew.core.retention import EVENT_RETENTION

_SQL = statements("outbox")
_user_ids = msgspec.json.Decoder(list[UserId]).decode
_queues = msgspec.json.Decoder(list[str]).decode


class PostgresEventLog:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def recipients(self, trip_ids: Iterable[TripId]) -> Mapping[TripId, Sequence[UserId]]:
        return await PostgresOutbox(self._sql).recipients(trip_ids)

    async def record(self, events: Sequence[Event]) -> None:
        rows = [
            {
                "n": number,
                "id": event.id,
                "type": event.type,
                "source": event.source,
                "trip_id": event.trip_id,
                "actor_id": event.actor_id,
                "recipient_id": event.recipient_id,
                "audience": event.audience,
                "occurred_at": event.occurred_at,
                "payload": Raw(event.payload.encode()),
            }
            for number, event in enumerate(events)
        ]
        await self._sql.fetch(_SQL["record"], events=json_param(rows), tombstone=TOMBSTONE)

    async def after(self, user_id: UserId, cursor: UUID | None, *, now: datetime, limit: int) -> EventPage:
        rows = await self._sql.fetch(_SQL["after"], caller=user_id, cursor=cursor, limit=limit + 1)
        if not rows:
            raise NotOnboarded
        if rows[0]["verdict"] == "unknown_cursor":
            if cursor is not None and _may_have_expired(cursor, now):
                raise Gone(
                    "Events are stored for seven days. Reload all data and continue from the newest event.",
                    code="cursor_expired",
                )
            raise Invalid(NO_CURSOR, code="invalid_cursor")
        events = [_event(row) for row in rows if row["id"] is not None]
        return EventPage(events[:limit], has_more=len(events) > limit)


class Lag(Struct, frozen=True):
    """The publisher's backlog: pending events, and the age of the oldest in seconds."""

    pending: int
    oldest_s: float


class Published(Struct, frozen=True):
    """Published events and their positions, in order.

    `queues` have new jobs. `passing` are events without a job, whose notifications reach sockets only. `members`
    are the ACTIVE members of the events' trips, or None if they were not read.
    """

    events: Sequence[Event]
    positions: Sequence[int]
    queues: Sequence[str]
    passing: Collection[EventId]
    members: Mapping[TripId, Sequence[UserId]] | None


class PostgresOutbox:
    """The methods of the publisher."""

    def __init__(self, sql: Sql, *, mirrors: bool = False, pushes: bool = False, illustrates: bool = False) -> None:
        """`mirrors`: events go to the mirror too. `pushes`: phones get pushes. `illustrates`: new trips get
        background pictures."""
        self._sql = sql
        self._mirrors = mirrors
        self._pushes = pushes
        self._illustrates = illustrates
        self._consumers = json_param(
            [
                {
                    "type": type_,
                    "queue": queue,
                    "is_passing": queue == NOTIFICATIONS and type_ in PASSING,
                    "is_hook": queue == WEBHOOKS and type_ in HOOKED,
                }
                for type_ in CONSUMERS.keys() | MIRRORED | ILLUSTRATED | HOOKED
                for queue in consumers_of(type_, mirrors=mirrors, illustrates=illustrates)
            ]
        )

    async def publish(self, *, limit: int, now: datetime, with_members: bool = False) -> Published:
        """Give pending events their positions and queue the jobs of their consumers, oldest first.

        A passing event gets no job unless a recipient has a phone, on a site with pushes.
        """
        rows = await self._sql.fetch(
            _SQL["publish"],
            limit=limit,
            now=now,
            consumers=self._consumers,
            pushes=self._pushes,
            with_members=with_members,
        )
        return Published(
            [_event(row) for row in rows],
            [row["position"] for row in rows],
            _queues(rows[0]["queues"]) if rows and rows[0]["queues"] else (),
            {row["id"] for row in rows if row["is_passing"]},
            {row["trip_id"]: _user_ids(row["members"]) for row in rows if row["members"]} if with_members else None,
        )

    async def last_position(self) -> int:
        """The position of the last published event; 0 if there is none."""
        [row] = await self._sql.fetch(_SQL["last_position"])
        return int(row["position"])

    async def published_between(self, after: int, before: int | None, *, limit: int) -> Published:
        """Events with positions between these two, including those of statements that are still running."""
        async with self._sql.transaction():
            await self._sql.fetch(_SQL["wait_for_publishers"])
            rows = await self._sql.fetch(_SQL["published_between"], after=after, before=before, limit=limit)
        events = [_event(row) for row in rows]
        queues = {
            queue
            for event in events
            for queue in consumers_of(event.type, mirrors=self._mirrors, illustrates=self._illustrates)
        }
        passing = {event.id for event in events if event.type in PASSING}  # a notification may be repeated
        return Published(events, [row["position"] for row in rows], list(queues), passing, None)

    async def recipients(self, trip_ids: Iterable[TripId]) -> Mapping[TripId, Sequence[UserId]]:
        """The ACTIVE members of each trip."""
        wanted = set(trip_ids)
        if not wanted:
            return {}
        members: dict[TripId, list[UserId]] = {}
        for row in await self._sql.fetch(_SQL["recipients"], trip_ids=json_param(list(wanted))):
            members.setdefault(row["trip_id"], []).append(row["user_id"])
        return members

    async def place(self, *, limit: int, now: datetime) -> Sequence[Event]:
        """Give pending events their positions, oldest first; they are unsent until `sent` is called."""
        return [_event(row) for row in await self._sql.fetch(_SQL["place"], limit=limit, now=now)]

    async def unsent(self, *, before: datetime, limit: int, now: datetime) -> Sequence[Event]:
        """Events that are unsent since `before` or earlier; they now count as unsent since `now`."""
        return [_event(row) for row in await self._sql.fetch(_SQL["unsent"], before=before, limit=limit, now=now)]

    async def sent(self, ids: Iterable[EventId]) -> None:
        await self._sql.fetch(_SQL["sent"], ids=json_param(list(ids)))

    async def behind(self) -> bool:
        """True if any event lacks its position or is unsent."""
        [row] = await self._sql.fetch(_SQL["behind"])
        return bool(row["behind"])

    async def lag(self, *, now: datetime) -> Lag:
        [row] = await self._sql.fetch(_SQL["lag"], now=now)
        return Lag(row["pending"], row["oldest_s"])


def _may_have_expired(cursor: UUID, now: datetime) -> bool:
    """True if an unknown id can be that of an expired event; derived ids do not contain their age."""
    created_s = uuid7_time_s(cursor)
    return cursor.version == 8 if created_s is None else created_s <= (now - EVENT_RETENTION).timestamp()


def _event(row: Row) -> Event:
    return Event(
        row["id"],
        row["type"],
        row["source"],
        row["trip_id"],
        row["actor_id"],
        row["recipient_id"],
        row["audience"],
        row["occurred_at"],
        row["payload"],
    )
