"""The same routes as a good developer writes them with FastAPI, SQLAlchemy and PyJWT, for comparison.

Same database, tables, checks and replies. Nothing is slowed down on purpose, and nothing is tuned beyond the
libraries' manuals: async engine with a pool, eager loading, uvloop and httptools, reply models, argon2 in a thread.
It does less than NomadCrew: no replay protection, no stored events, no rate-limit headers.
"""
# Checked against the real packages in .venv-bench; in .venv, where they are missing, they are Any.
# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: allow-subclassing-any, allow-untyped-decorators, no-warn-return-any

import hashlib
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from fastapi import FastAPI, HTTPException, Query, WebSocket, WebSocketDisconnect, status
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel, Field
from sqlalchemy import func, or_, select
from sqlalchemy.orm import joinedload, selectinload

from bench import plain_chat, plain_locations, plain_polls
from bench.plain_models import Account, Membership, Notification, RefreshToken, Session, Todo, Trip, User
from bench.plain_shapes import NotificationOut, Shape, TripOut
from bench.plain_shared import (
    Caller,
    Database,
    broadcast,
    engine,
    issuer,
    member_of,
    signing_key,
    sockets,
    verify,
)

ACCESS_LIFETIME = timedelta(minutes=15)
REFRESH_LIFETIME = timedelta(days=30)
CREW = selectinload(Trip.members).joinedload(Membership.user)

passwords = PasswordHasher(time_cost=1, memory_cost=47_104, parallelism=1)  # the parameters of the stored hashes


class TodoIn(BaseModel):
    text: str = Field(min_length=1, max_length=255)


class TodoOut(Shape):
    id: uuid.UUID
    trip_id: uuid.UUID
    text: str
    status: str
    created_by: uuid.UUID
    created_at: datetime
    updated_at: datetime


class LoginIn(BaseModel):
    password: str = Field(min_length=1, max_length=1024)
    email: str | None = None
    username: str | None = None


class ProfileOut(Shape):
    id: uuid.UUID
    email: str
    username: str
    first_name: str
    last_name: str
    avatar_url: str
    display_name: str


class LoginOut(BaseModel):
    access_token: str
    refresh_token: str
    expires_in: int
    user: ProfileOut
    token_type: str = "bearer"


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
app.include_router(plain_chat.router)
app.include_router(plain_locations.router)
app.include_router(plain_polls.router)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "up"}


@app.get("/v1/trips", response_model=list[TripOut], response_model_exclude_none=True)
async def list_trips(caller: Caller, session: Database) -> Any:
    result = await session.scalars(
        select(Trip)
        .join(Membership, Membership.trip_id == Trip.id)
        .where(Membership.user_id == caller, Membership.status == "ACTIVE", Trip.deleted_at.is_(None))
        .order_by(Trip.start_day.desc(), Trip.id.desc())
        .limit(500)
        .options(CREW)
    )
    return result.all()


@app.get("/v1/trips/{trip_id}", response_model=TripOut, response_model_exclude_none=True)
async def get_trip(trip_id: uuid.UUID, caller: Caller, session: Database) -> Any:
    await member_of(session, trip_id, caller)
    trip = await session.scalar(select(Trip).where(Trip.id == trip_id, Trip.deleted_at.is_(None)).options(CREW))
    if trip is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "trip_not_found")
    return trip


@app.get("/v1/notifications", response_model=list[NotificationOut])
async def list_notifications(
    caller: Caller, session: Database, limit: Annotated[int, Query(ge=1, le=100)] = 20, offset: int = 0
) -> Any:
    result = await session.scalars(
        select(Notification)
        .where(Notification.user_id == caller)
        .order_by(Notification.at.desc(), Notification.id.desc())
        .limit(limit)
        .offset(offset)
    )
    return result.all()


@app.post("/v1/trips/{trip_id}/todos", response_model=TodoOut, status_code=status.HTTP_201_CREATED)
async def create_todo(trip_id: uuid.UUID, body: TodoIn, caller: Caller, session: Database) -> Any:
    await member_of(session, trip_id, caller)
    if await session.scalar(select(Trip.id).where(Trip.id == trip_id, Trip.deleted_at.is_(None))) is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "trip_not_found")
    now = datetime.now(UTC)
    todo = Todo(
        id=uuid.uuid4(), trip_id=trip_id, text=body.text, status="INCOMPLETE", created_by=caller, created_at=now,
        updated_at=now,
    )  # fmt: skip
    session.add(todo)
    await session.commit()
    payload = TodoOut.model_validate(todo).model_dump(mode="json", by_alias=True)
    await broadcast(session, trip_id, "TODO_CREATED", payload)
    return todo


@app.post("/v1/auth/login", response_model=LoginOut)
async def login(body: LoginIn, session: Database) -> Any:
    name = (body.email or body.username or "").strip().lower()
    account = await session.scalar(
        select(Account)
        .join(Account.user)
        .where(or_(func.lower(User.email) == name, func.lower(User.username) == name))
        .options(joinedload(Account.user))
    )
    if account is None or not await run_in_threadpool(matches, account.password_hash, body.password):
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "invalid_credentials")
    now = datetime.now(UTC)
    until = now + REFRESH_LIFETIME
    refresh_token = secrets.token_urlsafe(32)
    token_hash = hashlib.sha256(refresh_token.encode()).digest()
    signed_in = Session(
        id=uuid.uuid4(),
        user_id=account.user_id,
        created_at=now,
        expires_at=until,
        refresh_tokens=[RefreshToken(hash=token_hash, issued_at=now, expires_at=until)],
    )
    session.add(signed_in)
    await session.commit()
    claims = {
        "iss": issuer, "sub": str(account.user_id), "client_id": "nomadcrew", "token_use": "access",
        "sid": str(signed_in.id), "username": account.user.username, "iat": now, "exp": now + ACCESS_LIFETIME,
        "jti": secrets.token_hex(16),
    }  # fmt: skip
    return LoginOut(
        access_token=jwt.encode(claims, signing_key, algorithm="RS256"),
        refresh_token=refresh_token,
        expires_in=int(ACCESS_LIFETIME.total_seconds()),
        user=ProfileOut.model_validate(account.user),
    )


def matches(password_hash: str, password: str) -> bool:
    try:
        return passwords.verify(password_hash, password)
    except VerificationError:
        return False


@app.websocket("/v1/ws")
async def websocket(socket: WebSocket, token: Annotated[str, Query()]) -> None:
    try:
        caller = verify(token)
    except (jwt.InvalidTokenError, ValueError):
        await socket.close(status.WS_1008_POLICY_VIOLATION)
        return
    await sockets.connect(caller, socket)
    try:
        await socket.send_json({"type": "connected", "payload": {"userId": str(caller)}})
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        pass
    finally:
        sockets.disconnect(caller, socket)
