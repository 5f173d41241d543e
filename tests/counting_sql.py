"""`Sql` that records the names of its statements."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from nomadcrew.adapters.postgres.sql import Row, Sql, Statement


class CountingSql:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self.statements: list[str] = []

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        self.statements.append(statement.name)
        return await self._sql.fetch(statement, **params)

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return self._sql.transaction()

    def in_transaction(self) -> bool:
        return self._sql.in_transaction()
