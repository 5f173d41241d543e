"""The outbox on PostgreSQL: stored events, and the methods of its publisher."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from nomadcrew.adapters.postgres.sql import Row, Sql, statements
from nomadcrew.core.errors import Gone, Invalid, NotOnboarded
from nomadcrew.core.events import NO_CURSOR, TOMBSTONE, Event, EventPage, consumers_of, job_id
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7_time_s
from nomadcrew.core.retention import EVENT_RETENTION

_SQL = statements("outbox")


class PostgresEventLog:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def recipients(self, trip_ids: Iterable[TripId]) -> Mapping[TripId, Sequence[UserId]]:
        return await PostgresOutbox(self._sql).recipients(trip_ids)

    async def record(self, events: Sequence[Event]) -> None:
        rows = [
            {
                "n": number,
                "id": str(event.id),
                "type": event.type,
                "source": event.source,
                "trip_id": _text(event.trip_id),
                "actor_id": _text(event.actor_id),
                "recipient_id": _text(event.recipient_id),
                "audience": event.audience,
                "occurred_at": event.occurred_at.isoformat(),
                "payload": json.loads(event.payload),
            }
            for number, event in enumerate(events)
        ]
        await self._sql.fetch(_SQL["record"], events=json.dumps(rows), tombstone=TOMBSTONE)

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


@dataclass(frozen=True, slots=True)
class Lag:
    """The publisher's backlog: pending events, and the age of the oldest in seconds."""

    pending: int
    oldest_s: float


class PostgresOutbox:
    """The methods of the publisher. Call `pending` and `publish` in one transaction."""

    def __init__(self, sql: Sql, *, mirrors: bool = False) -> None:
        """`mirrors`: events go to the mirror too."""
        self.sql = sql
        self._mirrors = mirrors

    def consumers(self, event: Event) -> Sequence[str]:
        """The queues that get a job for an event."""
        return consumers_of(event.type, mirrors=self._mirrors)

    async def pending(self, *, limit: int) -> Sequence[Event]:
        """Unpublished events that no other publisher has locked, oldest first; locks them for the transaction."""
        return [_event(row) for row in await self.sql.fetch(_SQL["pending"], limit=limit)]

    async def recipients(self, trip_ids: Iterable[TripId]) -> Mapping[TripId, Sequence[UserId]]:
        """The ACTIVE members of each trip."""
        wanted = [str(trip_id) for trip_id in set(trip_ids)]
        if not wanted:
            return {}
        members: dict[TripId, list[UserId]] = {}
        for row in await self.sql.fetch(_SQL["recipients"], trip_ids=json.dumps(wanted)):
            members.setdefault(row["trip_id"], []).append(row["user_id"])
        return members

    async def publish(self, events: Sequence[Event], bodies: Sequence[str], *, now: datetime) -> None:
        """Give events their positions and queue the jobs of their consumers.

        Args:
            bodies: the jobs' bodies, one per event.
        """
        jobs = [
            {"id": str(job_id(event.id, queue)), "event_id": str(event.id), "queue": queue, "body": body}
            for event, body in zip(events, bodies, strict=True)
            for queue in self.consumers(event)
        ]
        await self.sql.fetch(
            _SQL["publish"],
            ids=json.dumps([str(event.id) for event in events]),
            jobs=json.dumps(jobs),
            now=now,
        )

    async def place(self, *, limit: int, now: datetime) -> Sequence[Event]:
        """Give pending events their positions, oldest first; they are unsent until `sent` is called."""
        return [_event(row) for row in await self.sql.fetch(_SQL["place"], limit=limit, now=now)]

    async def unsent(self, *, before: datetime, limit: int, now: datetime) -> Sequence[Event]:
        """Events that are unsent since `before` or earlier; they now count as unsent since `now`."""
        return [_event(row) for row in await self.sql.fetch(_SQL["unsent"], before=before, limit=limit, now=now)]

    async def sent(self, ids: Iterable[EventId]) -> None:
        await self.sql.fetch(_SQL["sent"], ids=json.dumps([str(event_id) for event_id in ids]))

    async def behind(self) -> bool:
        """True if any event lacks its position or is unsent."""
        [row] = await self.sql.fetch(_SQL["behind"])
        return bool(row["behind"])

    async def published(self, ids: Iterable[EventId]) -> set[EventId]:
        """The published ones among these events."""
        wanted = json.dumps([str(event_id) for event_id in ids])
        return {row["id"] for row in await self.sql.fetch(_SQL["published"], ids=wanted)}

    async def lag(self, *, now: datetime) -> Lag:
        [row] = await self.sql.fetch(_SQL["lag"], now=now)
        return Lag(row["pending"], row["oldest_s"])


def _text(id_: UUID | None) -> str | None:
    return None if id_ is None else str(id_)


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
