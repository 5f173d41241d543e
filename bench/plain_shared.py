"""The parts that all routes of the plain stack share: database, caller, membership, sockets.

Settings: PLAIN_SIGNING_KEY, PLAIN_ISSUER, PLAIN_DATABASE_URL.
"""
# Checked against the real packages in .venv-bench; in .venv, where they are missing, they are Any.
# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: allow-subclassing-any, allow-untyped-decorators, no-warn-return-any

import asyncio
import os
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fastapi import Depends, HTTPException, WebSocket, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from bench.plain_models import Membership

signing_key = load_pem_private_key(Path(os.environ["PLAIN_SIGNING_KEY"]).read_bytes(), None)
public_key = signing_key.public_key()
issuer = os.environ["PLAIN_ISSUER"]
engine = create_async_engine(os.environ["PLAIN_DATABASE_URL"], pool_size=10, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)
bearer = HTTPBearer(auto_error=False)


class Sockets:
    """Open sockets by user."""

    def __init__(self) -> None:
        self._by_user: defaultdict[uuid.UUID, set[WebSocket]] = defaultdict(set)

    async def connect(self, user_id: uuid.UUID, socket: WebSocket) -> None:
        await socket.accept()
        self._by_user[user_id].add(socket)

    def disconnect(self, user_id: uuid.UUID, socket: WebSocket) -> None:
        self._by_user[user_id].discard(socket)

    async def send(self, user_ids: list[uuid.UUID], message: dict[str, Any]) -> None:
        sockets = [socket for user_id in user_ids for socket in self._by_user[user_id]]
        await asyncio.gather(*(socket.send_json(message) for socket in sockets), return_exceptions=True)


sockets = Sockets()


async def database() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


def verify(token: str) -> uuid.UUID:
    claims = jwt.decode(token, public_key, algorithms=["RS256"], issuer=issuer, options={"require": ["exp", "sub"]})
    return uuid.UUID(claims["sub"])


async def current_user(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> uuid.UUID:
    if credentials is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "token_missing")
    try:
        return verify(credentials.credentials)
    except (jwt.InvalidTokenError, ValueError):
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "auth_failed") from None


Database = Annotated[AsyncSession, Depends(database)]
Caller = Annotated[uuid.UUID, Depends(current_user)]


async def member_of(session: AsyncSession, trip_id: uuid.UUID, user_id: uuid.UUID) -> Membership:
    membership = await session.scalar(
        select(Membership).where(
            Membership.trip_id == trip_id, Membership.user_id == user_id, Membership.status == "ACTIVE"
        )
    )
    if membership is None:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "not_trip_member")
    return membership


async def broadcast(session: AsyncSession, trip_id: uuid.UUID, type_: str, payload: dict[str, Any]) -> None:
    """Send an event to the sockets of a trip's members."""
    crew = await session.scalars(
        select(Membership.user_id).where(Membership.trip_id == trip_id, Membership.status == "ACTIVE")
    )
    await sockets.send(list(crew), {"type": "event", "payload": {"type": type_, "payload": payload}})
