"""Changes on PostgreSQL, in one statement a page."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

import msgspec

from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, json_param, statements
from nomadcrew.core.documents.model import Document
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.invitations.model import Invitation
from nomadcrew.core.locations.model import TripSharing
from nomadcrew.core.chat.model import Receipt
from nomadcrew.core.notifications.model import Notification
from nomadcrew.core.notifications.preferences import Preferences, TripPreferences
from nomadcrew.core.notifications.texts import message
from nomadcrew.core.permissions import rule
from nomadcrew.core.pictures.model import Picture
from nomadcrew.core.polls.model import Poll
from nomadcrew.core.sync.model import (
    MAX_PAGE_BYTES,
    Change,
    ChangePage,
    Cursor,
    CursorExpired,
    Key,
    Kind,
    SyncedMessage,
)
from nomadcrew.core.todos.model import Todo
from nomadcrew.core.trips.model import TripMember
from nomadcrew.core.users.model import Profile

_SQL = statements("sync")
_ALSO = {"cursor_expired": CursorExpired}
_START = Key(0, "", UUID(int=0), UUID(int=0))
_json = msgspec.json.Decoder().decode


def _notification(body: str) -> Notification:
    stored = msgspec.json.decode(body, type=Notification)
    return stored._replace(message=message(stored.type, _json(stored.metadata)))


# The records of the core by the JSON of the statement.
RECORDS: Mapping[Kind, Callable[[str], Any]] = {
    Kind.TRIP: str,
    Kind.MEMBER: msgspec.json.Decoder(TripMember).decode,
    Kind.INVITATION: msgspec.json.Decoder(Invitation).decode,
    Kind.TODO: msgspec.json.Decoder(Todo).decode,
    Kind.MESSAGE: msgspec.json.Decoder(SyncedMessage).decode,
    Kind.RECEIPT: msgspec.json.Decoder(Receipt).decode,
    Kind.POLL: msgspec.json.Decoder(Poll).decode,
    Kind.DOCUMENT: msgspec.json.Decoder(Document).decode,
    Kind.PHOTO: msgspec.json.Decoder(Picture).decode,
    Kind.SHARING: msgspec.json.Decoder(TripSharing).decode,
    Kind.TRIP_PREFERENCES: msgspec.json.Decoder(TripPreferences).decode,
    Kind.PROFILE: msgspec.json.Decoder(Profile).decode,
    Kind.PREFERENCES: lambda body: Preferences.read(_json(body)),
    Kind.NOTIFICATION: _notification,
}


class PostgresChangeLog:
    """`ChangeLog` over SQL. With `has_chat` False, messages and receipts have an empty entity: they are elsewhere."""

    def __init__(self, sql: Sql, *, has_chat: bool = True) -> None:
        self._sql = sql
        self._has_chat = has_chat

    async def page(
        self, caller: UserId, since: Cursor | None, *, trips: Sequence[TripId] | None, limit: int, now: datetime
    ) -> ChangePage:
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
            has_chat=self._has_chat,
            limit=limit,
            max_bytes=MAX_PAGE_BYTES,
        )
        first = rows[0]
        raise_for_verdict(first["verdict"], also=_ALSO)
        changes = [
            _change(list(parts)) for place, parts in groupby(rows, key=itemgetter("place")) if place is not None
        ]
        has_more = first["found"] > len(changes)
        target_at = (since and since.target_at) or now
        if has_more:
            base, base_at = (since.base, since.base_at) if since else (None, None)
            cursor = Cursor(first["epoch"], base, base_at, first["target"], target_at, _key(rows[-1]), trips)
        else:
            cursor = Cursor(first["epoch"], first["target"], target_at, trips=trips)
        return ChangePage(changes, cursor, has_more)


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
