"""Feedback on PostgreSQL."""

from collections.abc import Sequence

from msgspec.structs import asdict

from nomadcrew.adapters.postgres.sql import Sql, statements
from nomadcrew.core.feedback.model import Feedback, FeedbackSource

_SQL = statements("feedback")


class PostgresFeedbackBox:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def add(self, feedback: Feedback) -> None:
        await self._sql.fetch(_SQL["add"], **asdict(feedback))

    async def list_newest(self, *, limit: int) -> Sequence[Feedback]:
        return [
            Feedback(
                row["id"],
                row["name"],
                row["email"],
                row["message"],
                FeedbackSource(row["source"]),
                row["created_at"],
            )
            for row in await self._sql.fetch(_SQL["newest"], limit=limit)
        ]
