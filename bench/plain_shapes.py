"""Replies as Pydantic models, for the stacks in the comparison."""
# Checked against the real packages in .venv-bench; in .venv, where they are missing, they are Any.
# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: allow-subclassing-any, allow-untyped-decorators, no-warn-return-any

import uuid
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
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
    timezone: str
    destination_place_id: str | None
    destination_address: str | None
    destination_name: str | None
    created_by: uuid.UUID | None
    created_by_name: str | None
    background_image_credit: dict[str, str] | None


class NotificationOut(Shape):
    id: uuid.UUID
    message: str
    read: bool
    created_at: datetime
    type: str
    metadata: dict[str, Any] = Field(validation_alias="details")


class SenderOut(BaseModel):
    id: uuid.UUID
    name: str


class ReactionCountOut(BaseModel):
    emoji: str
    count: int
    mine: bool


class MessageOut(BaseModel):
    id: uuid.UUID
    trip_id: uuid.UUID
    content: str
    sender: SenderOut
    created_at: datetime
    updated_at: datetime | None = None
    reply_to_id: uuid.UUID | None = None
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    reactions: list[ReactionCountOut] | None = None


class CursorPagination(BaseModel):
    has_more: bool
    limit: int
    next_cursor: str | None = None
    before: str | None = None


class HistoryOut(BaseModel):
    messages: list[MessageOut]
    pagination: CursorPagination


class SentOut(Shape):
    id: uuid.UUID
    trip_id: uuid.UUID
    user_id: uuid.UUID
    message: str
    created_at: datetime
    reply_to_id: uuid.UUID | None = None


class ReactedOut(Shape):
    message_id: uuid.UUID
    user_id: uuid.UUID
    emoji: str


class StatusOut(BaseModel):
    status: str
    success: bool = True


class MemberLocationOut(BaseModel):
    user_id: uuid.UUID
    trip_id: uuid.UUID
    latitude: float
    longitude: float
    accuracy: float | None
    privacy: str
    is_sharing_enabled: bool
    timestamp: datetime
    user_name: str


class OffsetPagination(BaseModel):
    has_more: bool
    total: int
    limit: int
    offset: int


class LocationPageOut(BaseModel):
    locations: list[MemberLocationOut]
    pagination: OffsetPagination


class LocationOut(BaseModel):
    id: str
    user_id: uuid.UUID
    trip_id: uuid.UUID
    latitude: float
    longitude: float
    accuracy: float | None
    timestamp: datetime
    privacy_level: str
    created_at: datetime
    updated_at: datetime


class VoterOut(Shape):
    user_id: uuid.UUID
    created_at: datetime


class PollOptionOut(Shape):
    id: uuid.UUID
    poll_id: uuid.UUID
    text: str
    position: int
    created_by: uuid.UUID
    created_at: datetime
    vote_count: int
    voters: list[VoterOut]
    has_voted: bool


class PollOut(Shape):
    id: uuid.UUID
    trip_id: uuid.UUID
    question: str
    status: str
    allow_multiple_votes: bool
    created_by: uuid.UUID
    expires_at: datetime
    created_at: datetime
    updated_at: datetime
    options: list[PollOptionOut]
    total_votes: int
    user_vote_count: int


class PagePagination(BaseModel):
    limit: int
    offset: int
    total: int


class PollPageOut(BaseModel):
    data: list[PollOut]
    pagination: PagePagination


class PollMessageOut(BaseModel):
    message: str
