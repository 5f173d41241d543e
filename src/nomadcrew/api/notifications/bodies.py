"""Bodies of the notification routes."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Raw, Struct

from nomadcrew.core.notifications.model import Notification


class NotificationView(Struct, rename="camel"):
    """A notification. `createdAt` is in whole seconds."""

    id: UUID
    message: str
    read: bool
    created_at: datetime
    type: str
    metadata: Annotated[Raw, Meta(extra_json_schema={"type": "object"})]


class UnreadCount(Struct):
    count: int


class MarkedAsRead(Struct):
    marked_as_read_count: int


class Deleted(Struct):
    deleted_count: int


def notification_view(notification: Notification) -> NotificationView:
    id_, type_, message, metadata, is_read, created_at = notification
    return NotificationView(id_, message, is_read, created_at.replace(microsecond=0), type_, Raw(metadata))
