"""Passkeys on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.adapters.postgres.accounts import account_of
from nomadcrew.adapters.postgres.sql import Duplicate, Row, Sql, statements
from nomadcrew.core.auth.credential_ports import NewPasskey, PasskeyKey, StoredPasskey
from nomadcrew.core.auth.errors import InvalidPasskey, LastSignIn, TooManyPasskeys
from nomadcrew.core.auth.model import Passkey, PasskeyId
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import UserId

_SQL = statements("passkeys")


class PostgresPasskeys:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def add(self, user_id: UserId, new: NewPasskey, *, at_most: int, now: datetime) -> Passkey:
        try:
            rows = await self._sql.fetch(
                _SQL["add"],
                id=new.id,
                user_id=user_id,
                credential_id=new.key.credential_id,
                public_key=new.key.public_key,
                sign_count=new.key.sign_count,
                name=new.name,
                at_most=at_most,
                now=now,
            )
        except Duplicate:
            raise InvalidPasskey from None
        if not rows:
            raise TooManyPasskeys
        return Passkey(new.id, new.name, now)

    async def find(self, credential_id: bytes) -> StoredPasskey | None:
        for row in await self._sql.fetch(_SQL["find"], credential_id=credential_id):
            key = PasskeyKey(credential_id, row["public_key"], row["sign_count"])
            passkey = Passkey(row["passkey_id"], row["name"], row["added_at"], row["used_at"])
            return StoredPasskey(account_of(row), passkey, key)
        return None

    async def credential_ids(self, user_id: UserId) -> Sequence[bytes]:
        return [row["credential_id"] for row in await self._sql.fetch(_SQL["list"], user_id=user_id)]

    async def list(self, user_id: UserId) -> Sequence[Passkey]:
        return [_passkey(row) for row in await self._sql.fetch(_SQL["list"], user_id=user_id)]

    async def used(self, passkey_id: PasskeyId, sign_count: int, *, now: datetime) -> None:
        await self._sql.fetch(_SQL["used"], id=passkey_id, sign_count=sign_count, now=now)

    async def rename(self, user_id: UserId, passkey_id: PasskeyId, name: str) -> Passkey:
        for row in await self._sql.fetch(_SQL["rename"], id=passkey_id, user_id=user_id, name=name):
            return _passkey(row)
        raise _not_found()

    async def remove(self, user_id: UserId, passkey_id: PasskeyId, *, now: datetime) -> None:
        [row] = await self._sql.fetch(_SQL["remove"], id=passkey_id, user_id=user_id, now=now)
        if row["verdict"] == "last_sign_in":
            raise LastSignIn
        if row["verdict"] != "ok":
            raise _not_found()


def _not_found() -> NotFound:
    return NotFound("passkey", code="passkey_not_found")


def _passkey(row: Row) -> Passkey:
    return Passkey(row["id"], row["name"], row["created_at"], row["used_at"])
