"""Identities of accounts on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from nomadcrew.adapters.postgres.accounts import account_of
from nomadcrew.adapters.postgres.sql import Duplicate, Sql, statements
from nomadcrew.core.auth.errors import IdentityTaken, LastSignIn
from nomadcrew.core.auth.model import Account, Identity, Provider
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import UserId

_SQL = statements("identities")


class PostgresIdentities:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def find(self, provider: Provider, subject: str) -> Account | None:
        rows = await self._sql.fetch(_SQL["find"], provider=provider.value, subject=subject)
        return account_of(rows[0]) if rows else None

    async def spend_nonce(self, nonce_id: UUID, *, expires_at: datetime) -> bool:
        return bool(await self._sql.fetch(_SQL["spend_nonce"], id=nonce_id, expires_at=expires_at))

    async def link(self, user_id: UserId, provider: Provider, subject: str, *, now: datetime) -> None:
        try:
            [row] = await self._sql.fetch(
                _SQL["link"], user_id=user_id, provider=provider.value, subject=subject, now=now
            )
        except Duplicate:
            raise IdentityTaken from None
        if not row["is_linked"]:
            raise IdentityTaken

    async def unlink(self, user_id: UserId, provider: Provider, *, now: datetime) -> None:
        [row] = await self._sql.fetch(_SQL["unlink"], user_id=user_id, provider=provider.value, now=now)
        if row["verdict"] == "last_sign_in":
            raise LastSignIn
        if row["verdict"] != "ok":
            raise NotFound("identity", code="identity_not_found")

    async def list(self, user_id: UserId) -> Sequence[Identity]:
        rows = await self._sql.fetch(_SQL["list"], user_id=user_id)
        return [Identity(Provider(row["provider"]), row["created_at"]) for row in rows]
