"""The routes for positions of the plain stack."""
# Checked against the real packages in .venv-bench; in .venv, where they are missing, they are Any.
# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: allow-subclassing-any, allow-untyped-decorators, no-warn-return-any

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, status
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from bench.plain_models import LastPosition, Membership, PastPosition, Sharing, User
from bench.plain_shapes import LocationOut, LocationPageOut, MemberLocationOut, OffsetPagination
from bench.plain_shared import Caller, Database, broadcast, member_of

STALE_AFTER = timedelta(hours=24)
LEVELS = ("hidden", "approximate", "precise")

router = APIRouter(prefix="/v1/trips/{trip_id}")


class LocationIn(BaseModel):
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    accuracy: float | None = Field(None, ge=0)
    timestamp: int | None = None
    privacy: str = Field("precise", pattern="^(hidden|approximate|precise)$")


class BatchIn(BaseModel):
    locations: list[LocationIn] = Field(min_length=1, max_length=500)


class RulingOut(BaseModel):
    index: int
    status: str = "accepted"


class BatchOut(BaseModel):
    accepted: int
    results: list[RulingOut]


@router.get("/locations", response_model=LocationPageOut)
async def list_locations(
    trip_id: uuid.UUID, caller: Caller, session: Database, limit: int = 50, offset: int = 0
) -> Any:
    await member_of(session, trip_id, caller)
    members = await session.scalars(
        select(Membership)
        .where(Membership.trip_id == trip_id, Membership.status == "ACTIVE")
        .order_by(Membership.created_at, Membership.id)
        .options(joinedload(Membership.user), joinedload(Membership.sharing), joinedload(Membership.last_position))
    )
    now = datetime.now(UTC)
    visible = [location for member in members if (location := visible_location(member, caller, now)) is not None]
    pagination = OffsetPagination(has_more=False, total=len(visible), limit=limit, offset=offset)
    return LocationPageOut(locations=visible, pagination=pagination)


@router.post("/locations", response_model=LocationOut, status_code=status.HTTP_201_CREATED)
async def post_location(trip_id: uuid.UUID, body: LocationIn, caller: Caller, session: Database) -> Any:
    now = datetime.now(UTC)
    [privacy] = await store(session, trip_id, [body], caller, now)
    return LocationOut(
        id=f"{caller}_{trip_id}_{now:%Y%m%d%H%M%S}",
        user_id=caller,
        trip_id=trip_id,
        latitude=body.latitude,
        longitude=body.longitude,
        accuracy=body.accuracy,
        timestamp=recorded_at(body, now),
        privacy_level=privacy,
        created_at=now,
        updated_at=now,
    )


@router.post("/locations:batch", response_model=BatchOut)
async def post_batch(trip_id: uuid.UUID, body: BatchIn, caller: Caller, session: Database) -> Any:
    stored = await store(session, trip_id, body.locations, caller, datetime.now(UTC))
    return BatchOut(accepted=len(stored), results=[RulingOut(index=index) for index in range(len(stored))])


async def store(
    session: AsyncSession, trip_id: uuid.UUID, bodies: list[LocationIn], caller: uuid.UUID, now: datetime
) -> list[str]:
    """Store positions in the history, the newest also as the last one; returns the privacy of each."""
    member = await member_of(session, trip_id, caller)
    user, sharing = await session.get_one(User, caller), await session.get(Sharing, (trip_id, caller))
    if sharing is None:
        sharing = Sharing(trip_id=trip_id, user_id=caller, is_enabled=True, updated_at=now)
        session.add(sharing)
    limits = (user.location_privacy_preference, sharing.privacy, None if is_on(sharing, now) else "hidden")
    rows: list[dict[str, Any]] = [
        {
            "trip_id": trip_id,
            "user_id": caller,
            "latitude": body.latitude,
            "longitude": body.longitude,
            "accuracy_m": body.accuracy,
            "recorded_at": recorded_at(body, now),
            "received_at": now,
            "privacy": strictest(body.privacy, *limits),
        }
        for body in bodies
    ]
    newest = max(rows, key=lambda row: row["recorded_at"])
    last = insert(LastPosition).values(newest)
    await session.execute(
        last.on_conflict_do_update(
            index_elements=[LastPosition.trip_id, LastPosition.user_id],
            set_={name: last.excluded[name] for name in newest if name not in ("trip_id", "user_id")},
            where=LastPosition.recorded_at < last.excluded.recorded_at,
        )
    )
    shown = [{**row, "is_jump": False} for row in rows if row["privacy"] != "hidden"]
    if shown:
        await session.execute(insert(PastPosition).on_conflict_do_nothing(), shown)
    await session.commit()
    if newest["privacy"] != "hidden":
        payload = {"userId": str(caller), "name": user.display_name, "memberId": str(member.id)}
        place = {name: newest[name] for name in ("latitude", "longitude", "accuracy_m")}
        await broadcast(session, trip_id, "LOCATION_UPDATED", payload | {"location": place})
    return [row["privacy"] for row in rows]


def visible_location(member: Membership, caller: uuid.UUID, now: datetime) -> MemberLocationOut | None:
    last, sharing = member.last_position, member.sharing
    if last is None:
        return None
    privacy, latitude, longitude, accuracy = last.privacy, last.latitude, last.longitude, last.accuracy_m
    if member.user_id != caller:
        if sharing is None or not is_on(sharing, now) or now - last.recorded_at >= STALE_AFTER:
            return None
        if last.received_at < member.joined_at or member.user.preferences.get("ghostMode"):
            return None
        privacy = strictest(privacy, member.user.location_privacy_preference, sharing.privacy)
        if privacy == "hidden":
            return None
        if privacy == "approximate":
            latitude, longitude, accuracy = round(latitude, 2), round(longitude, 2), None
    return MemberLocationOut(
        user_id=member.user_id,
        trip_id=member.trip_id,
        latitude=latitude,
        longitude=longitude,
        accuracy=accuracy,
        privacy=privacy,
        is_sharing_enabled=sharing is not None and is_on(sharing, now),
        timestamp=last.recorded_at,
        user_name=member.name,
    )


def is_on(sharing: Sharing, now: datetime) -> bool:
    return sharing.is_enabled and (sharing.expires_at is None or sharing.expires_at > now)


def strictest(*levels: str | None) -> str:
    return min((level for level in levels if level is not None), key=LEVELS.index)


def recorded_at(body: LocationIn, now: datetime) -> datetime:
    return now if body.timestamp is None else datetime.fromtimestamp(body.timestamp / 1000, UTC)
