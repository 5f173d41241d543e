"""Push tokens and the pushes sent to them, on PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from nomadcrew.adapters.postgres.sql import Duplicate, Row, Sql, json_param, statements
from nomadcrew.core.errors import NotOnboarded, Unavailable
from nomadcrew.core.ids import EventId, PushTokenId, UserId
from nomadcrew.core.notifications.push import (
    CLAIMED_FOR,
    MAX_TOKENS_PER_USER,
    Claimed,
    DeviceType,
    Phone,
    PushToken,
)

_SQL = statements("push")


class PostgresPushTokens:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def register(
        self, token_id: PushTokenId, token: str, device_type: DeviceType, caller: UserId, *, now: datetime
    ) -> PushToken:
        try:
            rows = await self._sql.fetch(
                _SQL["register"],
                id=token_id,
                token=token,
                device_type=device_type,
                caller=caller,
                max_tokens=MAX_TOKENS_PER_USER,
                now=now,
            )
        except Duplicate as race:
            raise Unavailable(code="busy") from race
        return _push_token(_one_row(rows))

    async def deactivate(self, token: str | None, caller: UserId, *, now: datetime) -> None:
        _one_row(await self._sql.fetch(_SQL["deactivate"], token=token, caller=caller, now=now))

    async def claim(self, push_id: EventId, people: Sequence[UserId], *, now: datetime) -> Claimed:
        rows = await self._sql.fetch(
            _SQL["claim"],
            push_id=push_id,
            people=json_param(people),
            now=now,
            until=now + CLAIMED_FOR,
        )
        claimed = [Phone(row["id"], row["user_id"], row["token"]) for row in rows if row["is_ours"]]
        return Claimed(claimed, len(rows) - len(claimed))

    async def release(self, push_id: EventId, phones: Sequence[PushTokenId]) -> None:
        await self._sql.fetch(_SQL["release"], push_id=push_id, ids=json_param(phones))

    async def sent(self, push_id: EventId, tickets: Mapping[PushTokenId, str | None], *, now: datetime) -> None:
        results = [{"token_id": token_id, "ticket": ticket} for token_id, ticket in tickets.items()]
        await self._sql.fetch(_SQL["sent"], push_id=push_id, results=json_param(results), now=now)

    async def tickets(self, push_id: EventId) -> Mapping[str, PushTokenId]:
        rows = await self._sql.fetch(_SQL["tickets"], push_id=push_id)
        return {row["ticket"]: row["token_id"] for row in rows}

    async def forget(self, gone: Sequence[PushTokenId], *, now: datetime) -> None:
        await self._sql.fetch(_SQL["forget"], ids=json_param(gone), now=now)


def _one_row(rows: Sequence[Row]) -> Row:
    if not rows:
        raise NotOnboarded
    return rows[0]


def _push_token(row: Row) -> PushToken:
    return PushToken(
        row["id"],
        row["user_id"],
        row["token"],
        row["device_type"],
        row["is_active"],
        row["created_at"],
        row["updated_at"],
        row["last_used_at"],
    )
