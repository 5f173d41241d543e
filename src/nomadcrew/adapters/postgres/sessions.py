"""Sessions on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter

from nomadcrew.adapters.postgres.profiles import profile_of
from nomadcrew.adapters.postgres.sql import Sql, Statement, statements
from nomadcrew.core.auth.errors import InvalidRefreshToken
from nomadcrew.core.auth.model import MAX_LISTED_SESSIONS, REUSE_GRACE, Account, ListedSession, Session
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import SessionId, UserId
from nomadcrew.core.retention import SESSION_RETENTION

_SQL = statements("sessions")
_columns = itemgetter("id", "user_agent", "created_at", "last_used_at", "expires_at")
DELETE_BATCH = 5_000  # rows per DELETE, so that locks are short


class PostgresSessions:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def open(self, session: Session, token_hash: bytes, *, now: datetime, user_agent: str = "") -> None:
        await self._sql.fetch(
            _SQL["open"],
            id=session.id,
            user_id=session.account.user_id,
            user_agent=user_agent,
            hash=token_hash,
            expires_at=session.expires_at,
            now=now,
        )

    async def rotate(self, spent_hash: bytes, fresh_hash: bytes, *, now: datetime, expires_at: datetime) -> Session:
        rows = await self._sql.fetch(
            _SQL["rotate"],
            spent=spent_hash,
            fresh=fresh_hash,
            grace_since=now - REUSE_GRACE,
            expires_at=expires_at,
            now=now,
        )
        if not rows or rows[0]["verdict"] == "invalid":
            raise InvalidRefreshToken
        [row] = rows
        if row["verdict"] == "reused":
            raise InvalidRefreshToken(ended=row["session_id"])
        account = Account(profile_of(row), row["is_admin"], row["confirmed"])
        return Session(row["session_id"], account, expires_at)

    async def close(self, token_hash: bytes, *, now: datetime) -> SessionId | None:
        rows = await self._sql.fetch(_SQL["close"], hash=token_hash, now=now)
        return rows[0]["id"] if rows else None

    async def list_open(self, user_id: UserId, *, now: datetime) -> Sequence[ListedSession]:
        rows = await self._sql.fetch(_SQL["list_open"], user_id=user_id, now=now, limit=MAX_LISTED_SESSIONS)
        return [ListedSession(*_columns(row)) for row in rows]

    async def end(self, user_id: UserId, session_id: SessionId, *, now: datetime) -> None:
        if not await self._sql.fetch(_SQL["end"], user_id=user_id, id=session_id, now=now):
            raise NotFound("session", code="session_not_found")

    async def end_others(self, user_id: UserId, kept: SessionId | None, *, now: datetime) -> Sequence[SessionId]:
        return [row["id"] for row in await self._sql.fetch(_SQL["end_others"], user_id=user_id, kept=kept, now=now)]

    async def ended_since(self, since: datetime) -> list[SessionId]:
        """The sessions that were ended after a time, by any process."""
        return [row["id"] for row in await self._sql.fetch(_SQL["ended_since"], since=since)]

    async def delete_expired(self, *, now: datetime) -> int:
        before = now - SESSION_RETENTION
        # Tokens first: active sessions have expired tokens too, and deleting a session deletes its tokens.
        await self._delete_expired(_SQL["forget_expired_tokens"], before)
        return await self._delete_expired(_SQL["forget_expired_sessions"], before)

    async def _delete_expired(self, statement: Statement, before: datetime) -> int:
        deleted, total = DELETE_BATCH, 0
        while deleted == DELETE_BATCH:
            deleted = len(await self._sql.fetch(statement, before=before, limit=DELETE_BATCH))
            total += deleted
        return total
