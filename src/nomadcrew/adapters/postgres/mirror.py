"""The data for the mirror, from PostgreSQL."""

from nomadcrew.adapters.postgres.sql import Row, Sql, statements
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.mirror.model import MirroredTrip, MirroredUser

_SQL = statements("mirror")


class PostgresMirrorSource:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def trip(self, trip_id: TripId) -> MirroredTrip | None:
        rows = await self._sql.fetch(_SQL["trip"], trip_id=trip_id)
        if not rows:
            return None
        trip, people = rows[0], [row for row in rows if row["user_id"] is not None]
        return MirroredTrip(
            id=trip["id"],
            name=trip["name"],
            created_by=trip["created_by"],
            start_date=trip["start_date"],
            end_date=trip["end_date"],
            destination_latitude=trip["destination_latitude"],
            destination_longitude=trip["destination_longitude"],
            members=[(row["user_id"], row["role"]) for row in people if row["role"] is not None],
            users=[_user(row, row["user_id"]) for row in people],
        )

    async def user(self, user_id: UserId) -> MirroredUser | None:
        rows = await self._sql.fetch(_SQL["user"], id=user_id)
        return _user(rows[0], rows[0]["id"]) if rows else None


def _user(row: Row, user_id: UserId) -> MirroredUser:
    return MirroredUser(user_id, row["email"], row["username"])
