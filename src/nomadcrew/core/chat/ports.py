"""Ports of the chat: messages and attachments."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.access import Access, Command
from nomadcrew.core.chat.model import (
    Attachment,
    Message,
    MessagePage,
    NewMessage,
    Reaction,
    Receipt,
    Transcribed,
    TranscriptPage,
)
from nomadcrew.core.ids import AttachmentId, EventId, MessageId, TripId, UserId
from nomadcrew.core.permissions import Rule


class ChatLog(Protocol):
    """A trip's chat. Messages are durable, and every member sees them in the server's order.

    The event of a write is stored and sent to sockets if, and only if, the write was committed.
    A cursor is a message id or the `next` of a page.

    Every method raises `NotOnboarded`, `NotTripMember`, `NotFound` (a deleted trip, a message that is deleted or
    not on the trip) and `Forbidden` (below the rule's rank and, if the rule admits authors, not the author).
    """

    async def add(self, message: NewMessage, rule: Rule) -> Message:
        """Append a message. A repeat returns the stored message.

        Raises:
            MessageIdTaken: another member's message, or one of another trip, has the id.
            ReplyNotFound: the replied-to message is not on the trip.
            AttachmentNotFound: the author uploaded no such file to the trip.
            AttachmentUsed: another message has the file.
        """
        ...

    async def before(self, access: Access, cursor: str | None, *, limit: int, offset: int = 0) -> MessagePage:
        """Messages before `cursor`, newest first. Default: from the end.

        Raises:
            BadCursor: the cursor is not from this chat.
        """
        ...

    async def after(self, access: Access, cursor: str, *, limit: int) -> MessagePage:
        """Messages after `cursor`, oldest first. The page may repeat some messages from just before it.

        Raises:
            BadCursor: the cursor is not from this chat.
        """
        ...

    async def search(self, access: Access, words: Sequence[str], cursor: str | None, *, limit: int) -> MessagePage:
        """Messages whose search key contains all of `words`, which are keys, newest first.

        An adapter without an index scans 10,000 messages per page; the page may be short and still have a `next`.

        Raises:
            BadCursor: the cursor is not from this chat.
        """
        ...

    async def transcript(self, access: Access, cursor: str | None, *, limit: int) -> TranscriptPage:
        """Messages after `cursor`, oldest first, with all reactions. Default: from the beginning.

        Raises:
            BadCursor: the cursor is not from this chat.
        """
        ...

    async def restore(self, trip_id: TripId, messages: Sequence[Transcribed], *, first_number: int) -> None:
        """Store messages of an unfinished import, without events. Safe to repeat.

        Messages are in order and numbered from `first_number`, which is at least 1. Counts of reactions are
        ignored. Raises only `Unavailable`.
        """
        ...

    async def edit(self, command: Command, message_id: MessageId, text: str) -> Message:
        """Change the text and store the previous one. The same text changes nothing.

        Raises:
            TooLateToEdit: the message is older than `EDITABLE_FOR`.
            TooManyEdits: the message was edited `MAX_EDITS` times.
        """
        ...

    async def delete(self, command: Command, message_id: MessageId) -> AttachmentId | None:
        """Replace the message by a tombstone, also in stored events, and delete its file. Safe to repeat.

        Returns the file, whose bytes `Files` still has.
        """
        ...

    async def add_reaction(self, reaction: Reaction, rule: Rule, event_id: EventId) -> Reaction:
        """Add a reaction. A repeat returns the stored reaction.

        Raises:
            TooManyReactions: the member has `MAX_REACTIONS` on this message.
        """
        ...

    async def remove_reaction(self, reaction: Reaction, rule: Rule, event_id: EventId) -> None:
        """Remove the user's own reaction, if there is one."""
        ...

    async def list_reactions(self, access: Access, message_id: MessageId) -> Sequence[Reaction]:
        """Oldest first."""
        ...

    async def mark_read(self, command: Command, message_id: MessageId) -> None:
        """Move the caller's last read message forward. An older message changes nothing and causes no event."""
        ...

    async def list_receipts(self, access: Access) -> Sequence[Receipt]:
        """The last read message of each member."""
        ...

    async def readers(self, trip_id: TripId, message_id: MessageId) -> frozenset[UserId]:
        """The users who have read the message; empty if there is no such message."""
        ...


class Attachments(Protocol):
    """The rows of uploaded files; `Files` stores their bytes.

    A file belongs to its uploader and a trip, and to one message at most. A deleted file is no longer readable; its
    row remains until `forget`.
    """

    async def add(self, access: Access, attachment: Attachment, *, fingerprint: bytes, now: datetime) -> Attachment:
        """Store a file's row. A repeat returns the stored row.

        Raises:
            DomainError: the caller is not on the trip, or below the rule's rank.
        """
        ...

    async def get(self, access: Access, attachment_id: AttachmentId) -> Attachment:
        """A file in a message of the trip, or the caller's own.

        Raises:
            AttachmentNotFound: no such file.
            DomainError: the caller is not on the trip, or below the rule's rank.
        """
        ...

    async def claim(
        self, trip_id: TripId, attachment_id: AttachmentId, author: UserId, message_id: MessageId
    ) -> Attachment:
        """Attach a file to a message that another store holds. Safe to repeat.

        Raises:
            AttachmentNotFound: the author uploaded no such file to the trip.
            AttachmentUsed: another message has the file.
        """
        ...

    async def release(self, message_id: MessageId, *, now: datetime) -> AttachmentId | None:
        """Delete the file of a message that another store holds. Returns it, if there is one."""
        ...

    async def expire(self, unused_since: datetime, *, now: datetime, limit: int) -> int:
        """Delete files that have been in no message since then, and those of deleted trips. Returns the number."""
        ...

    async def list_deleted(self, *, limit: int) -> Sequence[tuple[TripId, AttachmentId]]:
        """Deleted files whose rows remain, oldest deletion first."""
        ...

    async def forget(self, ids: Sequence[AttachmentId]) -> None:
        """Delete the rows of these files, except those that were not deleted."""
        ...
