"""What the chat needs from its storage."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.chat.model import Attachment, Message, MessagePage, NewMessage, Reaction, Receipt
from nomadcrew.core.ids import AttachmentId, EventId, MessageId, TripId, UserId
from nomadcrew.core.permissions import Rule


class ChatLog(Protocol):
    """A trip's chat, durable and in one order for everybody: that of the server.

    The event of a write reaches everybody's sockets and the record of events if, and only if, the write was made.
    A cursor is a message's id or what a page said comes next.

    Every method raises `NotOnboarded`, `NotTripMember`, `NotFound` (a deleted trip, a message that is not on the
    trip or was deleted) and `Forbidden` (below the rule's rank and not the author, where the rule lets authors).
    """

    async def add(self, message: NewMessage, rule: Rule) -> Message:
        """Store a message at the end; the stored one where it was there already.

        Raises:
            MessageIdTaken: another person's message, or one of another trip, has the id.
            ReplyNotFound: what it replies to is not on the trip.
            AttachmentNotFound: the author sent no such file to the trip.
            AttachmentUsed: another message has that file.
        """
        ...

    async def before(
        self, trip_id: TripId, caller: UserId, rule: Rule, cursor: str | None, *, limit: int, offset: int = 0
    ) -> MessagePage:
        """What was written before `cursor`, newest first; from the end without one.

        Raises:
            BadCursor: no message of the trip and no cursor of ours.
        """
        ...

    async def after(self, trip_id: TripId, caller: UserId, rule: Rule, cursor: str, *, limit: int) -> MessagePage:
        """What was written after `cursor`, oldest first: everything, and perhaps a little from just before.

        Raises:
            BadCursor: no message of the trip and no cursor of ours.
        """
        ...

    async def search(
        self, trip_id: TripId, caller: UserId, rule: Rule, words: Sequence[str], cursor: str | None, *, limit: int
    ) -> MessagePage:
        """Messages whose case-folded text holds all of `words`, newest first.

        Where looking is dear a page looks at 10,000 messages, whatever it finds, and says where to go on.

        Raises:
            BadCursor: no message of the trip and no cursor of ours.
        """
        ...

    async def edit(
        self,
        trip_id: TripId,
        message_id: MessageId,
        caller: UserId,
        rule: Rule,
        text: str,
        event_id: EventId,
        *,
        now: datetime,
    ) -> Message:
        """Change a text and keep the one before; the same text again changes nothing.

        Raises:
            TooLateToEdit: it was written too long ago.
            TooManyEdits: it was edited as often as any message may be.
        """
        ...

    async def delete(
        self,
        trip_id: TripId,
        message_id: MessageId,
        caller: UserId,
        rule: Rule,
        event_id: EventId,
        *,
        now: datetime,
    ) -> None:
        """Leave a tombstone, also in the record of events, and no file. Deleting again is nothing."""
        ...

    async def react(self, reaction: Reaction, rule: Rule, event_id: EventId) -> Reaction:
        """Add a reaction; the one that is there already where it is.

        Raises:
            TooManyReactions: the person has as many on this message as anybody may.
        """
        ...

    async def unreact(self, reaction: Reaction, rule: Rule, event_id: EventId) -> None:
        """Take a reaction of one's own back; nothing where there is none."""
        ...

    async def reactions(
        self, trip_id: TripId, message_id: MessageId, caller: UserId, rule: Rule
    ) -> Sequence[Reaction]:
        """Oldest first."""
        ...

    async def read(
        self,
        trip_id: TripId,
        message_id: MessageId,
        caller: UserId,
        rule: Rule,
        event_id: EventId,
        *,
        now: datetime,
    ) -> None:
        """Say that the caller has read up to a message; one before that changes nothing and tells nobody."""
        ...

    async def receipts(self, trip_id: TripId, caller: UserId, rule: Rule) -> Sequence[Receipt]:
        """Up to where each member has read."""
        ...


class Attachments(Protocol):
    """Whose files are whose; the files themselves lie with `Files`.

    A file belongs to its uploader and a trip, and to one message at most. What is deleted is found by nobody any
    more, and remembered until `forget`.
    """

    async def add(
        self,
        attachment: Attachment,
        trip_id: TripId,
        caller: UserId,
        rule: Rule,
        *,
        fingerprint: bytes,
        now: datetime,
    ) -> Attachment:
        """Remember a file; the one that a repeat made before, where this is one.

        Raises:
            DomainError: the caller is not on the trip, or below the rule's rank.
        """
        ...

    async def one(self, trip_id: TripId, attachment_id: AttachmentId, caller: UserId, rule: Rule) -> Attachment:
        """A file that is in a message of the trip, or the caller's own.

        Raises:
            AttachmentNotFound: there is none.
            DomainError: the caller is not on the trip, or below the rule's rank.
        """
        ...

    async def take(
        self, trip_id: TripId, attachment_id: AttachmentId, author: UserId, message_id: MessageId
    ) -> Attachment:
        """Make a file a message's, for messages that are kept elsewhere; again is nothing more.

        Raises:
            AttachmentNotFound: the author sent no such file to the trip.
            AttachmentUsed: another message has it.
        """
        ...

    async def release(self, message_id: MessageId, *, now: datetime) -> None:
        """Delete what a message has, for messages that are kept elsewhere."""
        ...

    async def expire(self, unused_since: datetime, *, now: datetime, limit: int) -> int:
        """Delete what is in no message since then, and what is on deleted trips; says how much that was."""
        ...

    async def deleted(self, *, limit: int) -> Sequence[tuple[TripId, AttachmentId]]:
        """What was deleted and is remembered still, longest ago first."""
        ...

    async def forget(self, ids: Sequence[AttachmentId]) -> None:
        """Remember these no more, those of them that were deleted."""
        ...
