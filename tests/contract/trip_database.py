"""Users, trips and events in a database, for tests of SQL ports."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.adapters.postgres.sql import Row, Sql, compile_statement
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Command
from nomadcrew.core.ids import EventId, MembershipId, TripId, UserId, uuid7
from nomadcrew.core.permissions import ADMIN, MEMBER, OWNER, Role
from nomadcrew.core.trips.model import NewTrip, Status, Trip
from tests.fakes import NOON

_USER = compile_statement(
    "user",
    """INSERT INTO user_profiles (id, email, username, first_name, created_at, updated_at)
       VALUES (:id::uuid, :email::text, :name::text, :name::text, :now::timestamptz, :now::timestamptz)""",
)
_EVENTS = compile_statement(
    "events",
    "SELECT type, actor_id, recipient_id, audience, payload::text AS payload FROM outbox ORDER BY entered",
)
_EARLIER_TRIP = compile_statement(
    "earlier_trip",
    """INSERT INTO trips (id, name, destination_latitude, destination_longitude, start_date, end_date, status,
                          created_at, updated_at, deleted_at)
       VALUES (:id::uuid, 'Earlier', 0, 0, '2020-01-01', '2020-01-02', 'COMPLETED', :now::timestamptz,
               :now::timestamptz, :now::timestamptz)""",
)
_EARLIER_MEMBERSHIP = compile_statement(
    "earlier_membership",
    """INSERT INTO trip_memberships (id, trip_id, user_id, role, status, created_at, updated_at, joined_at)
       SELECT :id::uuid, :trip_id::uuid, user_profiles.id, 'MEMBER', 'INACTIVE', :now::timestamptz,
              :now::timestamptz, :now::timestamptz
       FROM user_profiles WHERE id = :user_id::uuid""",
)
_COUNT = compile_statement("count", "SELECT member_count FROM trips WHERE id = :id::uuid")


@dataclass
class TripDb:
    pool: Sql

    async def run(self, text: str, **params: object) -> None:
        """Run a statement that no port has."""
        await self.pool.fetch(compile_statement("test", text), **params)

    async def rows(self, text: str, **params: object) -> list[Row]:
        """Read rows that no port returns."""
        return list(await self.pool.fetch(compile_statement("test", text), **params))

    async def user(self, name: str) -> UserId:
        user_id = UserId(uuid7())
        await self.pool.fetch(_USER, id=user_id, email=f"{name}@example.org", name=name, now=NOON)
        return user_id

    async def trip(self, owner: UserId, **fields: Any) -> TripId:
        return (await self.new_trip(owner, **fields)).id

    async def new_trip(
        self, owner: UserId, *, fingerprint: bytes | None = None, now: datetime = NOON, **fields: Any
    ) -> Trip:
        return await PostgresTrips(self.pool).add(
            TripId(uuid7()),
            MembershipId(uuid7()),
            EventId(uuid7()),
            a_trip(**fields),
            owner,
            now=now,
            fingerprint=fingerprint or uuid7().bytes,
        )

    async def consent(self, user_id: UserId, owner: UserId) -> None:
        """Let `owner` add the user without an invitation: both were once on a trip, which is deleted."""
        await self.run("UPDATE trip_memberships SET left_by_choice = false WHERE user_id = :id::uuid", id=user_id)
        earlier = uuid7()
        await self.pool.fetch(_EARLIER_TRIP, id=earlier, now=NOON)
        for person in (user_id, owner):
            await self.pool.fetch(_EARLIER_MEMBERSHIP, id=uuid7(), trip_id=earlier, user_id=person, now=NOON)

    async def join(self, trip_id: TripId, user_id: UserId, owner: UserId, role: Role = Role.MEMBER) -> None:
        await self.consent(user_id, owner)
        await PostgresMembers(self.pool).add(
            Command(trip_id, owner, OWNER, EventId(uuid7()), NOON),
            user_id,
            role,
            membership_id=MembershipId(uuid7()),
        )

    async def leave(self, trip_id: TripId, user_id: UserId, caller: UserId) -> None:
        rule = ADMIN if user_id != caller else MEMBER
        await PostgresMembers(self.pool).remove(Command(trip_id, caller, rule, EventId(uuid7()), NOON), user_id)

    async def events(self) -> list[dict[str, Any]]:
        """All events of the outbox, oldest first, with decoded payloads."""
        rows = await self.pool.fetch(_EVENTS)
        return [
            {"type": row["type"], "actor": row["actor_id"], "recipient": row["recipient_id"],
             "audience": row["audience"], "payload": json.loads(row["payload"])}
            for row in rows
        ]  # fmt: skip

    async def types(self) -> list[str]:
        return [event["type"] for event in await self.events()]

    async def member_count(self, trip_id: UUID) -> int:
        [row] = await self.pool.fetch(_COUNT, id=trip_id)
        return int(row["member_count"])


def a_trip(**fields: Any) -> NewTrip:
    values: dict[str, Any] = {
        "name": "Porto",
        "description": "",
        "destination_place_id": None,
        "destination_address": None,
        "destination_name": "Porto",
        "destination_latitude": 41.15,
        "destination_longitude": -8.61,
        "start_date": date(2026, 12, 1),
        "end_date": date(2026, 12, 9),
        "status": Status.PLANNING,
        "background_image_url": "",
        "timezone": "Europe/Lisbon",
    }
    return NewTrip(**(values | fields))
