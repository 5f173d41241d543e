"""Changes on PostgreSQL, in one statement a page."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Protocol
from uuid import UUID

import msgspec

from nomadcrew.adapters.postgres.records import RECORDS
from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, json_param, statements
from nomadcrew.core.chat.model import Sender
from nomadcrew.core.ids import MessageId, TripId, UserId
from nomadcrew.core.permissions import rule
from nomadcrew.core.sync.cursors import Cursor, Key
from nomadcrew.core.sync.model import MAX_PAGE_BYTES, Change, ChangePage, CursorExpired, Kind

_SQL = statements("sync")
_ALSO = {"cursor_expired": CursorExpired}
_ids = msgspec.json.Decoder(list[TripId]).decode
MAX_NOTED = 20  # chats, in a request
_START = Key(0, "", UUID(int=0), UUID(int=0))


class SyncedChat(Protocol):
    """The messages and receipts of changes, from a store of their own."""

    async def fill(
        self, changes: Sequence[Change], caller: UserId, senders: Mapping[TripId, Mapping[UserId, Sender]]
    ) -> Sequence[Change]:
        """The changes with their messages and receipts; only the first ones, at least one, if they are too long.

        `senders` are the members of the trips.
        """
        ...

    async def contents(self, trip_id: TripId) -> tuple[Sequence[MessageId], Sequence[UserId]]:
        """All messages of a trip, and all members with a receipt."""
        ...


class PostgresChangeLog:
    """`ChangeLog` over SQL, except for messages and receipts if they are in another store."""

    def __init__(self, sql: Sql, chat: SyncedChat | None = None) -> None:
        self._sql = sql
        self._chat = chat

    async def page(
        self, caller: UserId, since: Cursor | None, *, trips: Sequence[TripId] | None, limit: int, now: datetime
    ) -> ChangePage:
        rows = await self._rows(caller, since, trips, limit)
        unnoted = _ids(rows[0]["unnoted"] or "[]")
        if self._chat is not None and unnoted:
            for trip_id in unnoted[:MAX_NOTED]:
                messages, readers = await self._chat.contents(trip_id)
                ids = {"messages": json_param(messages), "readers": json_param(readers)}
                await self._sql.fetch(_SQL["note_chat"], trip_id=trip_id, **ids)
            rows = await self._rows(caller, since, trips, limit)
        first = rows[0]
        found = [list(parts) for place, parts in groupby(rows, key=itemgetter("place")) if place is not None]
        changes = await self._with_chat([_change(parts) for parts in found], caller)
        target_at = (since and since.target_at) or now
        if first["found"] > len(changes):
            base, base_at = (since.base, since.base_at) if since else (None, None)
            end = _key(found[len(changes) - 1][0])
            cursor = Cursor(first["epoch"], base, base_at, first["target"], target_at, end, trips)
            return ChangePage(changes, cursor, has_more=True)
        # A run of several pages ends where the present was when it began.
        began_earlier = since is not None and since.target is not None
        cursor = Cursor(first["epoch"], first["target"], target_at, trips=trips)
        return ChangePage(changes, cursor, has_more=began_earlier or len(unnoted) > MAX_NOTED)

    async def _rows(
        self, caller: UserId, since: Cursor | None, trips: Sequence[TripId] | None, limit: int
    ) -> Sequence[Row]:
        last = (since and since.last) or _START
        rows = await self._sql.fetch(
            _SQL["page"],
            caller=caller,
            epoch=since and since.epoch,
            base=since and since.base,
            target=since and since.target,
            last_written=str(last.written),
            last_kind=last.kind,
            last_id=last.id,
            last_scope=last.scope,
            trips=None if trips is None else json_param(trips),
            invitation_rank=rule("invitation", "read").min_rank,
            has_chat=self._chat is None,
            limit=limit,
            max_bytes=MAX_PAGE_BYTES,
        )
        raise_for_verdict(rows[0]["verdict"], also=_ALSO)
        return rows

    async def _with_chat(self, changes: Sequence[Change], caller: UserId) -> Sequence[Change]:
        trips = {one.trip_id for one in changes if one.kind in (Kind.MESSAGE, Kind.RECEIPT)}
        if self._chat is None or not trips:
            return changes
        senders: dict[TripId, dict[UserId, Sender]] = {}
        for row in await self._sql.fetch(_SQL["senders"], trips=json_param(list(trips))):
            sender = Sender(row["user_id"], row["name"], row["avatar_url"])
            senders.setdefault(row["trip_id"], {})[sender.id] = sender
        return await self._chat.fill(changes, caller, senders)


def _key(row: Row) -> Key:
    return Key(int(row["written"]), row["kind"], row["entity_id"], row["scope_id"])


def _change(parts: Sequence[Row]) -> Change:
    """A change from the rows of its parts."""
    row = parts[0]
    body = None if row["part"] is None else "".join(part["part"] for part in parts)
    if row["kind"] == "access":  # of a trip that the caller left
        return Change(Kind.TRIP, row["entity_id"], row["entity_id"], None)
    kind = Kind(row["kind"])
    trip_id = row["entity_id"] if kind in (Kind.SHARING, Kind.TRIP_PREFERENCES) else row["trip_id"]
    entity = None if body is None else RECORDS[kind](body) if body else ""
    return Change(kind, row["entity_id"], trip_id, entity)
