"""Phones as they cross the network."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from nomadcrew.core.notifications.push import MAX_TOKEN, DeviceType, PushToken

Token = Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN)]


class PushTokenIn(Struct, rename="camel"):
    token: Token
    device_type: DeviceType


class PushTokenGoneIn(Struct):
    token: Token


class PushTokenView(Struct, rename="camel", omit_defaults=True):
    id: UUID
    user_id: UUID
    token: str
    device_type: DeviceType
    is_active: bool
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None = None


def push_token_view(kept: PushToken) -> PushTokenView:
    return PushTokenView(
        id=kept.id,
        user_id=kept.user_id,
        token=kept.token,
        device_type=DeviceType(kept.device_type),
        is_active=kept.is_active,
        created_at=kept.created_at,
        updated_at=kept.updated_at,
        last_used_at=kept.last_used_at,
    )
