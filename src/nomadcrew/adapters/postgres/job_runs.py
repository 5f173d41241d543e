"""The runs of scheduled jobs on PostgreSQL."""

from collections.abc import Sequence

from msgspec.structs import asdict

from nomadcrew.adapters.postgres.sql import Sql, statements
from nomadcrew.core.scheduled_jobs import JobRun, LastRun

_SQL = statements("job_runs")


class PostgresJobRuns:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def record(self, run: JobRun) -> None:
        await self._sql.fetch(_SQL["record"], **asdict(run))

    async def last(self) -> Sequence[LastRun]:
        return [
            LastRun(row["job"], row["started_at"], row["finished_at"], row["count"], row["error"], row["failed_at"])
            for row in await self._sql.fetch(_SQL["last"])
        ]
