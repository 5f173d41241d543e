"""The trip list as a function in FastAPI, Mangum, SQLAlchemy and boto3, for the comparison of cold starts.

Settings: COLD_SQLALCHEMY_URL.
"""
# Checked against the real packages in .venv-bench; in .venv, where they are missing, they are Any.
# mypy: disable-error-code="import-not-found, import-untyped, unused-ignore"
# mypy: allow-subclassing-any, allow-untyped-decorators, no-warn-return-any

import os
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

import boto3
from fastapi import Depends, FastAPI, HTTPException, Request, status
from mangum import Mangum
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload

from bench.plain_models import Membership, Trip
from bench.plain_shapes import TripOut

# A typical function creates its clients once, outside the handler, as AWS's examples do.
events = boto3.client("events", region_name="eu-central-1", aws_access_key_id="none", aws_secret_access_key="none")
engine = create_async_engine(os.environ["COLD_SQLALCHEMY_URL"], pool_size=1)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


async def database() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


async def current_user(request: Request) -> uuid.UUID:
    claims = request.scope["aws.event"]["requestContext"].get("authorizer", {}).get("jwt", {}).get("claims")
    if claims is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "token_missing")
    return uuid.UUID(claims["sub"])


@app.get("/v1/trips", response_model=list[TripOut], response_model_exclude_none=True)
async def list_trips(
    caller: Annotated[uuid.UUID, Depends(current_user)], session: Annotated[AsyncSession, Depends(database)]
) -> Any:
    result = await session.scalars(
        select(Trip)
        .join(Membership, Membership.trip_id == Trip.id)
        .where(Membership.user_id == caller, Membership.status == "ACTIVE", Trip.deleted_at.is_(None))
        .order_by(Trip.start_day.desc(), Trip.id.desc())
        .limit(500)
        .options(selectinload(Trip.members).joinedload(Membership.user))
    )
    return result.all()


handler = Mangum(app, lifespan="off")
