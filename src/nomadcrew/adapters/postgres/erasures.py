"""Erasures of users, on PostgreSQL.

Each statement erases rows of one kind and counts them in the same transaction. Other rows that refer to the profile
end with it.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from nomadcrew.adapters.postgres.erased_texts import rewrite_texts
from nomadcrew.adapters.postgres.sql import Row, Sql, json_param, statements
from nomadcrew.core.erasure.model import PERSONAL_DOCUMENTS, FileKeeper, FormerMembership, Person, PersonalFile
from nomadcrew.core.errors import NotFound
from nomadcrew.core.events import TOMBSTONE
from nomadcrew.core.ids import EventId, TripId, UserId
from nomadcrew.core.mail import recipient_key
from nomadcrew.core.text import email_key

_SQL = statements("erasures")
# In the order in which they are written: rows before those that they refer to, last what triggers noted of them.
_ERASING = [statement for name, statement in _SQL.items() if name.startswith("erase_")]


class PostgresErasures:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def request(
        self, user_id: UserId, event_id: EventId | None, *, due_at: datetime, now: datetime
    ) -> datetime:
        rows = await self._sql.fetch(_SQL["request"], user_id=user_id, event_id=event_id, due_at=due_at, now=now)
        if not rows:
            raise NotFound("user", user_id)
        stored: datetime = rows[0]["due_at"]
        return stored

    async def list_due(self, now: datetime, *, limit: int) -> Sequence[UserId]:
        return [row["user_id"] for row in await self._sql.fetch(_SQL["due"], now=now, limit=limit)]

    async def begin(self, user_id: UserId, *, now: datetime) -> Person | None:
        rows = await self._sql.fetch(_SQL["begin"], user_id=user_id, now=now)
        if not rows:
            return None
        [row] = rows
        words: dict[str, Any] = _words(row) if row["words"] is None else json.loads(row["words"])
        await self._sql.fetch(_SQL["plan"], user_id=user_id, words=json_param(words), now=now)
        trips = [
            FormerMembership(trip["trip_id"], trip["stand_in_id"], trip["is_over"])
            for trip in await self._sql.fetch(_SQL["trips"], user_id=user_id)
        ]
        return Person(user_id, row["address"], words["username"], words["texts"], words["addresses"], trips)

    async def leave(self, user_id: UserId, trip_id: TripId, event_id: EventId, *, now: datetime) -> bool:
        [row] = await self._sql.fetch(_SQL["leave"], user_id=user_id, trip_id=trip_id, event_id=event_id, now=now)
        return bool(row["has_left"])

    async def list_files(self, user_id: UserId, *, limit: int) -> Sequence[PersonalFile]:
        rows = await self._sql.fetch(
            _SQL["files"], user_id=user_id, types=json_param(PERSONAL_DOCUMENTS), limit=limit
        )
        return [PersonalFile(FileKeeper(row["keeper"]), row["id"], row["trip_id"]) for row in rows]

    async def forget_files(self, user_id: UserId, files: Sequence[PersonalFile], *, now: datetime) -> None:
        ids = json_param([file.id for file in files])
        await self._sql.fetch(_SQL["forget_files"], user_id=user_id, ids=ids, tombstone=TOMBSTONE, now=now)

    async def erase_rows(self, person: Person) -> None:
        await rewrite_texts(self._sql, person)
        for statement in _ERASING:
            await self._sql.fetch(statement, user_id=person.id)

    async def count(self, user_id: UserId, counts: Mapping[str, int]) -> None:
        await self._sql.fetch(_SQL["count"], user_id=user_id, counts=json_param(counts))

    async def counts(self, user_id: UserId) -> Mapping[str, int] | None:
        rows = await self._sql.fetch(_SQL["counts"], user_id=user_id)
        counts: Mapping[str, int] | None = json.loads(rows[0]["counts"]) if rows else None
        return counts

    async def finish(self, user_id: UserId) -> None:
        await self._sql.fetch(_SQL["finish"], user_id=user_id)


def _words(row: Row) -> dict[str, Any]:
    """The names and addresses of a profile, as the statements compare them; empty without a profile."""
    columns = ("email", "contact_email", "address", "new_email", "former_email")
    known = [row[column] for column in columns]
    addresses = list(dict.fromkeys(address for address in known if address))
    username = row["username"] or ""
    first, last = row["first_name"] or "", row["last_name"] or ""
    texts = (f"{first} {last}".strip(), first, last, username, *addresses)
    return {
        "username": username,
        "addresses": addresses,
        "texts": [text for text in dict.fromkeys(texts) if text],
        "keys": [email_key(address) for address in addresses],
        "mailboxes": [recipient_key(address) for address in addresses],
    }
