"""Membership on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, gate, statements
from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, MembershipId, TripId, UserId
from nomadcrew.core.members.model import Membership
from nomadcrew.core.permissions import Role
from nomadcrew.core.trips.model import MAX_MEMBERS, MAX_TRIPS_PER_USER, TripMember

_SQL = statements("members")


class PostgresMembers:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def list_for_trip(self, access: Access) -> Sequence[TripMember]:
        rows = await self._sql.fetch(_SQL["of"], **gate(access))
        raise_for_verdict(rows[0]["verdict"])
        return [
            TripMember(
                row["id"],
                row["trip_id"],
                row["user_id"],
                row["role"],
                row["status"],
                row["created_at"],
                row["updated_at"],
                row["email"],
                row["username"],
                row["first_name"],
                row["last_name"],
                row["avatar_url"],
            )
            for row in rows
        ]

    async def add(
        self, command: Command, user_id: UserId, role: Role, *, membership_id: MembershipId
    ) -> Membership | None:
        [row] = await self._sql.fetch(
            _SQL["add"],
            **gate(command),
            user_id=user_id,
            role=role,
            membership_id=membership_id,
            event_id=command.event_id,
            now=command.now,
            max_members=MAX_MEMBERS,
            max_trips=MAX_TRIPS_PER_USER,
        )
        verdict = raise_for_verdict(row["verdict"], "unchanged", "needs_consent")
        return None if verdict == "needs_consent" else membership_of(row)

    async def remove(self, command: Command, user_id: UserId) -> None:
        [row] = await self._sql.fetch(
            _SQL["remove"],
            **gate(command),
            user_id=user_id,
            event_id=command.event_id,
            now=command.now,
        )
        raise_for_verdict(row["verdict"])

    async def change_role(
        self, access: Access, user_id: UserId, role: Role, *, event_ids: tuple[EventId, EventId], now: datetime
    ) -> Membership:
        [row] = await self._sql.fetch(
            _SQL["change_role"],
            **gate(access),
            user_id=user_id,
            role=role,
            event_id=event_ids[0],
            own_event_id=event_ids[1],
            now=now,
        )
        raise_for_verdict(row["verdict"], "unchanged")
        return membership_of(row)

    async def list_active_trips(self, user_id: UserId) -> Sequence[TripId]:
        rows = await self._sql.fetch(_SQL["active"], user_id=user_id, max_trips=MAX_TRIPS_PER_USER)
        return [row["trip_id"] for row in rows]

    async def is_active(self, trip_id: TripId, user_id: UserId) -> bool:
        [row] = await self._sql.fetch(_SQL["is_active"], trip_id=trip_id, user_id=user_id)
        return bool(row["active"])


def membership_of(row: Row) -> Membership:
    return Membership(
        row["id"],
        row["trip_id"],
        row["user_id"],
        row["role"],
        row["status"],
        row["created_at"],
        row["updated_at"],
    )
