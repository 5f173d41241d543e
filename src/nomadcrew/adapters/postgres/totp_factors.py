"""Authenticator apps on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.adapters.postgres.accounts import account_of
from nomadcrew.adapters.postgres.sql import Sql, json_param, statements
from nomadcrew.core.auth.credential_ports import TotpFactor
from nomadcrew.core.auth.errors import MfaEnabled
from nomadcrew.core.ids import UserId

_SQL = statements("totp_factors")


class PostgresTotpFactors:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def begin(self, user_id: UserId, secret: bytes, recovery_hashes: Sequence[bytes]) -> None:
        hashes = json_param([hash_.hex() for hash_ in recovery_hashes])
        if not await self._sql.fetch(_SQL["begin"], user_id=user_id, secret=secret, hashes=hashes):
            raise MfaEnabled

    async def get(self, user_id: UserId) -> TotpFactor | None:
        for row in await self._sql.fetch(_SQL["one"], user_id=user_id):
            account = account_of(row)
            return TotpFactor(account, row["totp_secret"], account.has_totp, row["recovery_codes_left"])
        return None

    async def confirm(self, user_id: UserId, secret: bytes, step: int, *, now: datetime) -> bool:
        return bool(await self._sql.fetch(_SQL["confirm"], user_id=user_id, secret=secret, step=step, now=now))

    async def spend_step(self, user_id: UserId, step: int) -> bool:
        return bool(await self._sql.fetch(_SQL["spend_step"], user_id=user_id, step=step))

    async def spend_recovery_code(self, user_id: UserId, hash_: bytes) -> bool:
        return bool(await self._sql.fetch(_SQL["spend_recovery_code"], user_id=user_id, hash=hash_))

    async def remove(self, user_id: UserId, *, now: datetime) -> None:
        await self._sql.fetch(_SQL["remove"], user_id=user_id, now=now)
