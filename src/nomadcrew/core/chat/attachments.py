"""Files in a chat: sent first, named in a message then, and gone when the message is."""

import asyncio
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from nomadcrew.core.chat.model import Attachment
from nomadcrew.core.chat.ports import Attachments
from nomadcrew.core.files.metadata import cleaned
from nomadcrew.core.files.model import MAX_NAME, FileKind
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import AttachmentId, NewId, TripId, UserId
from nomadcrew.core.permissions import rule

UNUSED_KEPT_FOR = timedelta(days=1)
BITE = 200

# What a file of a kind may be called, the usual first.
_SUFFIXES = {
    FileKind.JPEG: (".jpg", ".jpeg"),
    FileKind.PNG: (".png",),
    FileKind.WEBP: (".webp",),
    FileKind.PDF: (".pdf",),
}


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
    """Keep a file for a message to come, without what it tells of where and when it was taken.

    The row is written first, so that there is no file that nobody would delete.

    Raises:
        Invalid: too large, of no type that is taken, or damaged.
        DomainError: as `Attachments.add` and `Files.put` say.
    """
    # Taking a large picture apart would hold everybody else up for a moment.
    kind, clean = await asyncio.to_thread(cleaned, content)
    made = Attachment(AttachmentId(new_id()), kind, len(clean), shown_name(name, kind))
    kept = await attachments.add(made, trip_id, caller, rule("chat", "create"), fingerprint=fingerprint, now=now)
    # Also for a repeat: the first may not have come this far.
    await files.put(key_of(trip_id, kept.id), clean, kind)
    return kept


async def link_to(
    trip_id: TripId,
    attachment_id: AttachmentId,
    caller: UserId,
    *,
    attachments: Attachments,
    files: Files,
    now: datetime,
) -> str:
    """An address that gives the file to whoever has it, for a quarter of an hour.

    Raises:
        DomainError: as `Attachments.one` says.
    """
    found = await attachments.one(trip_id, attachment_id, caller, rule("chat", "read"))
    return files.link(key_of(trip_id, found.id), found.kind, found.name, now=now)


async def forget_files(*, attachments: Attachments, files: Files, now: datetime) -> int:
    """Delete what was never sent, what was in deleted messages, and what was in deleted trips; says how much.

    A row goes after its file, so that whatever stops this in between, it is done again.

    Raises:
        Unavailable: a file could not be deleted just now.
    """
    while await attachments.expire(now - UNUSED_KEPT_FOR, now=now, limit=BITE) >= BITE:
        pass
    total = 0
    while True:
        due = await attachments.deleted(limit=BITE)
        for trip_id, attachment_id in due:
            await files.delete(key_of(trip_id, attachment_id))
        if due:
            await attachments.forget([attachment_id for _, attachment_id in due])
        total += len(due)
        if len(due) < BITE:
            return total


def key_of(trip_id: TripId, attachment_id: AttachmentId) -> str:
    """Where a file is kept; the infrastructure lets functions have what begins with `attachments/`."""
    return f"attachments/{trip_id}/{attachment_id}"


def shown_name(given: str, kind: FileKind) -> str:
    """What a file is called: the last part of what was given, as far as it can be read, ending as its kind does."""
    last = given.replace("\\", "/").rpartition("/")[2]
    name = "".join(character for character in last if character.isprintable()).strip(" .")
    suffixes = _SUFFIXES[kind]
    suffix = PurePosixPath(name).suffix
    if suffix.lower() not in suffixes:
        suffix = suffixes[0]
        stem = name or ("document" if kind is FileKind.PDF else "photo")
    else:
        stem = name[: -len(suffix)]
    return stem[: MAX_NAME - len(suffix)] + suffix
