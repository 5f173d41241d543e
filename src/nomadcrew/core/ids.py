"""Identifiers. New ids are UUIDv7, so that inserts go to the end of an index; any UUID is accepted."""

import hashlib
import os
import time
from functools import lru_cache
from typing import NewType, Protocol
from uuid import UUID

UserId = NewType("UserId", UUID)
TripId = NewType("TripId", UUID)
MembershipId = NewType("MembershipId", UUID)
InvitationId = NewType("InvitationId", UUID)
TodoId = NewType("TodoId", UUID)
CalendarId = NewType("CalendarId", UUID)
PollId = NewType("PollId", UUID)
PollOptionId = NewType("PollOptionId", UUID)
MessageId = NewType("MessageId", UUID)
AttachmentId = NewType("AttachmentId", UUID)
DocumentId = NewType("DocumentId", UUID)
AuditId = NewType("AuditId", UUID)
PictureId = NewType("PictureId", UUID)
ExportId = NewType("ExportId", UUID)
UploadId = NewType("UploadId", UUID)
ReactionId = NewType("ReactionId", UUID)
NotificationId = NewType("NotificationId", UUID)
PushTokenId = NewType("PushTokenId", UUID)
EventId = NewType("EventId", UUID)
SessionId = NewType("SessionId", UUID)
ApiKeyId = NewType("ApiKeyId", UUID)
WebhookId = NewType("WebhookId", UUID)
DeliveryId = NewType("DeliveryId", UUID)
JobId = NewType("JobId", UUID)


# Version and variant of a version 7 UUID, and the bits around them.
_VERSION_7 = 7 << 76 | 2 << 62
_RANDOM = 0xFFF << 64 | (1 << 62) - 1


class NewId(Protocol):
    """Returns a new id at each call."""

    def __call__(self) -> UUID: ...


def uuid7() -> UUID:
    """A version 7 UUID: 48 bits of Unix milliseconds, then randomness.

    Source: RFC 9562, section 5.7.
    """
    ms = time.time_ns() // 1_000_000
    return UUID(int=ms << 80 | _VERSION_7 | int.from_bytes(os.urandom(10), "big") & _RANDOM)


def derived_id(cause: UUID, purpose: str) -> UUID:
    """An id derived from `cause` and `purpose`, the same at every repeat: a version 8 UUID from a hash.

    Source: RFC 9562, section 5.8.
    """
    value = int.from_bytes(hashlib.sha256(cause.bytes + purpose.encode()).digest()[:16], "big")
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 8 << 76 | 2 << 62)


def uuid7_time_s(value: UUID) -> float | None:
    """The creation time in a version 7 id, in Unix seconds; None for other versions."""
    return (value.int >> 80) / 1000 if value.version == 7 else None


def parse_uuid(text: str) -> UUID | None:
    """The UUID in `text` in its 36-character form, else None."""
    return _parsed(text) if len(text) == 36 else None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> UUID | None:
    """Parsing takes ten times as long as a look-up, and requests name the same trips again and again."""
    try:
        return UUID(text)
    except ValueError:
        return None
