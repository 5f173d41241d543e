"""Files in a chat: uploaded first, then attached to a message, deleted with the message."""

import asyncio
from datetime import datetime

from nomadcrew.core.access import Access
from nomadcrew.core.batches import in_batches
from nomadcrew.core.chat.model import Attachment, key_of
from nomadcrew.core.chat.ports import Attachments
from nomadcrew.core.files.metadata import strip_metadata
from nomadcrew.core.files.model import MAX_NAME
from nomadcrew.core.files.names import named_as
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import AttachmentId, NewId, TripId, UserId
from nomadcrew.core.permissions import rule
from nomadcrew.core.retention import UNUSED_ATTACHMENT_RETENTION

DELETE_BATCH = 200


async def upload(
    trip_id: TripId,
    content: bytes,
    name: str,
    caller: UserId,
    *,
    attachments: Attachments,
    files: Files,
    new_id: NewId,
    now: datetime,
    fingerprint: bytes,
) -> Attachment:
    """Store a file for a later message, without its metadata.

    The row is written first: a file without a row would never be deleted.

    Raises:
        Invalid: the file is too large, of a type that is not accepted, or damaged.
        DomainError: as `Attachments.add` and `Files.put` say.
    """
    # Parsing a large picture would block the event loop.
    kind, stripped = await asyncio.to_thread(strip_metadata, content)
    new = Attachment(AttachmentId(new_id()), kind, len(stripped), named_as(name, kind, MAX_NAME))
    stored = await attachments.add(
        Access(trip_id, caller, rule("chat", "create")), new, fingerprint=fingerprint, now=now
    )
    # A repeat writes the file too: the first attempt may have failed before this line.
    await files.put(key_of(trip_id, stored.id), stripped, kind)
    return stored


async def link_to(
    trip_id: TripId,
    attachment_id: AttachmentId,
    caller: UserId,
    *,
    attachments: Attachments,
    files: Files,
    now: datetime,
) -> str:
    """A download link without further authentication, valid for `LINK_LIFETIME`.

    Raises:
        DomainError: as `Attachments.get` says.
    """
    attachment = await attachments.get(Access(trip_id, caller, rule("chat", "read")), attachment_id)
    return files.link(key_of(trip_id, attachment.id), attachment.kind, attachment.name, now=now)


async def forget_files(*, attachments: Attachments, files: Files, now: datetime) -> int:
    """Delete files that were never sent, and those of deleted messages and trips. Returns the number of files.

    A row is deleted after its file, so that an interrupted run is repeated.

    Raises:
        Unavailable: a file could not be deleted; retry later.
    """
    unused_since = now - UNUSED_ATTACHMENT_RETENTION

    async def delete_files() -> int:
        due = await attachments.list_deleted(limit=DELETE_BATCH)
        for trip_id, attachment_id in due:
            await files.delete(key_of(trip_id, attachment_id))
        if due:
            await attachments.forget([attachment_id for _, attachment_id in due])
        return len(due)

    await in_batches(lambda: attachments.expire(unused_since, now=now, limit=DELETE_BATCH), DELETE_BATCH)
    return await in_batches(delete_files, DELETE_BATCH)
