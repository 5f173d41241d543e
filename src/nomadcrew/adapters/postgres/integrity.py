"""Checks of the stored data, on PostgreSQL."""

from collections.abc import Sequence

from nomadcrew.adapters.postgres.sql import Sql, statements
from nomadcrew.core.chat.model import MAX_EDITS, MAX_REACTIONS
from nomadcrew.core.integrity import Fault
from nomadcrew.core.notifications.push import MAX_TOKENS_PER_USER
from nomadcrew.core.trips.model import MAX_MEMBERS, MAX_TRIPS_PER_USER

_SQL = statements("integrity")


class PostgresIntegrity:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def find_faults(self, *, limit: int) -> Sequence[Fault]:
        rows = await self._sql.fetch(
            _SQL["faults"],
            max_members=MAX_MEMBERS,
            max_trips=MAX_TRIPS_PER_USER,
            max_reactions=MAX_REACTIONS,
            max_edits=MAX_EDITS,
            max_phones=MAX_TOKENS_PER_USER,
            limit=limit,
        )
        return [Fault(row["fault"], row["subject"], row["stored"], row["counted"]) for row in rows]

    async def correct_member_counts(self) -> int:
        return len(await self._sql.fetch(_SQL["correct_member_counts"]))

    async def renew_trip_cards(self) -> int:
        return len(await self._sql.fetch(_SQL["renew_trip_cards"]))
