"""API keys on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from nomadcrew.adapters.postgres.refusals import Refusals, raise_for_verdict
from nomadcrew.adapters.postgres.sql import Sql, json_param, statements
from nomadcrew.core.api_keys.model import MAX_KEYS, ApiKey, ApiKeyExists, ApiKeyNotFound, NewApiKey, TooManyApiKeys
from nomadcrew.core.api_keys.ports import FoundKey
from nomadcrew.core.claims import Claims, KeyScope
from nomadcrew.core.errors import NotOnboarded
from nomadcrew.core.ids import ApiKeyId, TripId, UserId

_SQL = statements("api_keys")
_ALSO: Refusals = {"api_key_exists": ApiKeyExists, "too_many_api_keys": TooManyApiKeys}
_trips = msgspec.json.Decoder(tuple[UUID, ...])


class PostgresApiKeys:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def add(self, user_id: UserId, key: NewApiKey, *, now: datetime) -> None:
        [row] = await self._sql.fetch(
            _SQL["add"],
            caller=user_id,
            id=key.id,
            hash=key.hash,
            name=key.name,
            writes=key.writes,
            trips=json_param(key.trips or ()),
            expires_at=key.expires_at,
            max_keys=MAX_KEYS,
            now=now,
        )
        raise_for_verdict(row["verdict"], also=_ALSO)

    async def of(self, user_id: UserId) -> Sequence[ApiKey]:
        rows = await self._sql.fetch(_SQL["of"], caller=user_id, limit=MAX_KEYS)
        if not rows:
            raise NotOnboarded
        return [
            ApiKey(
                ApiKeyId(row["id"]),
                row["name"],
                row["writes"],
                _trips_of(row["trips"]),
                row["created_at"],
                row["expires_at"],
                row["last_used_at"],
            )
            for row in rows
            if row["id"] is not None
        ]

    async def delete(self, user_id: UserId, key_id: ApiKeyId) -> None:
        if not await self._sql.fetch(_SQL["delete"], caller=user_id, id=key_id):
            raise ApiKeyNotFound

    async def find(self, key_hash: bytes, *, now: datetime) -> FoundKey | None:
        rows = await self._sql.fetch(_SQL["find"], hash=key_hash, now=now)
        if not rows:
            return None
        row = rows[0]
        trips = _trips_of(row["trips"])
        scope = KeyScope(ApiKeyId(row["id"]), row["writes"], None if trips is None else frozenset(trips))
        return FoundKey(Claims(UserId(row["user_id"]), row["expires_at"], key=scope), row["last_used_at"])

    async def record_use(self, key_id: ApiKeyId, *, now: datetime) -> None:
        await self._sql.fetch(_SQL["record_use"], id=key_id, now=now)


def _trips_of(text: str | None) -> tuple[TripId, ...] | None:
    return None if text is None else tuple(TripId(value) for value in _trips.decode(text))
