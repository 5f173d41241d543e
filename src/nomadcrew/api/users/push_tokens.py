"""Bodies of the push token routes."""

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


def push_token_view(push_token: PushToken) -> PushTokenView:
    return PushTokenView(
        id=push_token.id,
        user_id=push_token.user_id,
        token=push_token.token,
        device_type=DeviceType(push_token.device_type),
        is_active=push_token.is_active,
        created_at=push_token.created_at,
        updated_at=push_token.updated_at,
        last_used_at=push_token.last_used_at,
    )
