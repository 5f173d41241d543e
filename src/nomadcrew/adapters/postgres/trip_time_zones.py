"""Fills the time zones of trips that were stored without one, in a migration."""

from uuid import UUID

from nomadcrew.adapters.postgres.sql import Sql, compile_statement, json_param
from nomadcrew.adapters.time_zones import TzfTimeZones

BATCH = 1_000
_READ = compile_statement(
    "trips_without_time_zone",
    """SELECT id, destination_latitude, destination_longitude FROM trips
       WHERE id > :after::uuid AND (destination_latitude <> 0 OR destination_longitude <> 0)
       ORDER BY id LIMIT :limit::int""",
)
_WRITE = compile_statement(
    "fill_time_zones",
    """UPDATE trips t SET timezone = found.timezone
       FROM jsonb_to_recordset(:rows::jsonb) AS found (id uuid, timezone text) WHERE t.id = found.id""",
)


async def fill_time_zones(sql: Sql) -> None:
    """Fill the time zone of every trip with a destination."""
    zones, after = TzfTimeZones(), UUID(int=0)
    while rows := await sql.fetch(_READ, after=after, limit=BATCH):
        found = [
            {"id": row["id"], "timezone": zones.at(row["destination_latitude"], row["destination_longitude"])}
            for row in rows
        ]
        await sql.fetch(_WRITE, rows=json_param(found))
        after = rows[-1]["id"]
