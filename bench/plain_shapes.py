"""Replies as Pydantic models, for the stacks in the comparison."""
# Checked against the real packages in .venv-bench; in .venv, where they are missing, they are Any.
# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: allow-subclassing-any, allow-untyped-decorators, no-warn-return-any

import uuid
from datetime import datetime

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Shape(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


class MemberOut(Shape):
    id: uuid.UUID
    trip_id: uuid.UUID
    user_id: uuid.UUID
    role: str
    status: str
    created_at: datetime
    updated_at: datetime
    name: str


class TripOut(Shape):
    id: uuid.UUID
    name: str
    description: str
    destination_latitude: float
    destination_longitude: float
    start_date: datetime
    end_date: datetime
    status: str
    created_at: datetime
    updated_at: datetime
    background_image_url: str
    members: list[MemberOut]
    participant_count: int
    destination_place_id: str | None
    destination_address: str | None
    destination_name: str | None
    created_by: uuid.UUID | None
    created_by_name: str | None
