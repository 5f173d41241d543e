"""Versions of entities on PostgreSQL."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from uuid import UUID

from nomadcrew.adapters.postgres.sql import Sql, json_param, statements
from nomadcrew.core.versions import Versioned

_SQL = statements("versions")


class PostgresVersions:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    def held(self) -> AbstractAsyncContextManager[None]:
        return self._sql.transaction()

    async def is_overtaken(self, of: Versioned, id_: UUID, base: datetime, wanted: Mapping[str, object]) -> bool:
        rows = await self._sql.fetch(_SQL[of], id=id_, base=base, wanted=json_param(wanted))
        return bool(rows and rows[0]["is_overtaken"])
