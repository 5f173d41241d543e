"""What people do in a chat."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.core.chat import events
from nomadcrew.core.chat.model import (
    BadCursor,
    Message,
    MessagePage,
    NewMessage,
    Reaction,
    Receipt,
    Sender,
    checked_emoji,
    checked_text,
    mentioned,
    words_of,
)
from nomadcrew.core.chat.ports import ChatLog
from nomadcrew.core.errors import TooMany
from nomadcrew.core.ids import AttachmentId, EventId, MessageId, NewId, TripId, UserId
from nomadcrew.core.limits import RateLimits
from nomadcrew.core.permissions import rule
from nomadcrew.core.presence.ports import Presence
from nomadcrew.core.realtime import Live

MAX_CURSOR = 200  # characters


async def send_message(
    trip_id: TripId,
    text: str,
    caller: UserId,
    *,
    message_id: MessageId | None,
    reply_to_id: MessageId | None,
    attachment_id: AttachmentId | None = None,
    chat: ChatLog,
    limits: RateLimits,
    new_id: NewId,
    now: datetime,
    fingerprint: bytes | None = None,
) -> Message:
    """Write a message. Its id is the client's, where it gave one: sent again, it is the same message.

    Args:
        fingerprint: what tells a repeat where the client gave no id.

    Raises:
        Invalid: no text, or too much.
        TooMany: the trip's chat takes no more just now.
        DomainError: as `ChatLog.add` says.
    """
    message = NewMessage(
        MessageId(new_id()) if message_id is None else message_id,
        trip_id,
        caller,
        checked_text(text, may_be_empty=attachment_id is not None),
        reply_to_id,
        mentioned(text),
        EventId(new_id()),
        now,
        fingerprint if message_id is None else None,
        attachment_id,
    )
    # Looked at first and spent afterwards, so that nobody but members can use a chat's allowance up.
    await _trip_allowance(trip_id, limits, cost=0)
    stored = await chat.add(message, rule("chat", "create"))
    await limits.take("chat_trip", str(trip_id))
    return stored


async def history(
    trip_id: TripId,
    caller: UserId,
    *,
    before: str | None,
    after: str | None,
    query: str | None,
    limit: int,
    offset: int,
    chat: ChatLog,
) -> MessagePage:
    """Messages: newest first, or oldest first what was written `after` one, or newest first what `query` finds.

    Raises:
        Invalid: a cursor or a query cannot be used.
        DomainError: as `ChatLog` says.
    """
    if any(cursor is not None and not 0 < len(cursor) <= MAX_CURSOR for cursor in (before, after)):
        raise BadCursor
    may = rule("chat", "read")
    if query is not None:
        return await chat.search(trip_id, caller, may, words_of(query), before, limit=limit)
    if after is not None:
        return await chat.after(trip_id, caller, may, after, limit=limit)
    return await chat.before(trip_id, caller, may, before, limit=limit, offset=offset)


async def edit_message(
    trip_id: TripId,
    message_id: MessageId,
    text: str,
    caller: UserId,
    *,
    chat: ChatLog,
    new_id: NewId,
    now: datetime,
) -> Message:
    """Change the text of one's own message of the last fifteen minutes.

    Raises:
        Invalid: no text, or too much; `TooLateToEdit`; `TooManyEdits`.
        DomainError: as `ChatLog` says.
    """
    return await chat.edit(
        trip_id, message_id, caller, rule("chat", "update"), checked_text(text), EventId(new_id()), now=now
    )


async def delete_message(
    trip_id: TripId, message_id: MessageId, caller: UserId, *, chat: ChatLog, new_id: NewId, now: datetime
) -> None:
    """Delete one's own message, or as an ADMIN anybody's."""
    await chat.delete(trip_id, message_id, caller, rule("chat", "delete"), EventId(new_id()), now=now)


async def react(
    trip_id: TripId,
    message_id: MessageId,
    emoji: str,
    caller: UserId,
    *,
    chat: ChatLog,
    new_id: NewId,
    now: datetime,
) -> Reaction:
    """React to a message; once more with the same emoji is nothing more."""
    reaction = Reaction(message_id, trip_id, caller, checked_emoji(emoji), now)
    return await chat.react(reaction, rule("chat", "react"), EventId(new_id()))


async def unreact(
    trip_id: TripId,
    message_id: MessageId,
    emoji: str,
    caller: UserId,
    *,
    chat: ChatLog,
    new_id: NewId,
    now: datetime,
) -> None:
    """Take a reaction of one's own back."""
    reaction = Reaction(message_id, trip_id, caller, emoji, now)
    await chat.unreact(reaction, rule("chat", "react"), EventId(new_id()))


async def list_reactions(
    trip_id: TripId, message_id: MessageId, caller: UserId, *, chat: ChatLog
) -> Sequence[Reaction]:
    return await chat.reactions(trip_id, message_id, caller, rule("chat", "read"))


async def mark_read(
    trip_id: TripId, message_id: MessageId, caller: UserId, *, chat: ChatLog, new_id: NewId, now: datetime
) -> None:
    """Say that one has read up to a message."""
    await chat.read(trip_id, message_id, caller, rule("chat", "read"), EventId(new_id()), now=now)


async def read_by(trip_id: TripId, caller: UserId, *, chat: ChatLog) -> Sequence[Receipt]:
    return await chat.receipts(trip_id, caller, rule("chat", "read"))


async def say_typing(
    trip_id: TripId,
    caller: UserId,
    *,
    is_typing: bool,
    presence: Presence,
    live: Live,
    new_id: NewId,
    now: datetime,
) -> None:
    """Let the others see that one is typing, or has stopped; kept nowhere, and nothing in ghost mode."""
    typist = await presence.typist(trip_id, caller, rule("chat", "create"))
    if typist is not None:
        sender = Sender(caller, typist.name, typist.avatar)
        await live.tell(events.typing(EventId(new_id()), trip_id, sender, is_typing=is_typing, now=now))


async def _trip_allowance(trip_id: TripId, limits: RateLimits, *, cost: int) -> None:
    allowance = await limits.take("chat_trip", str(trip_id), cost=cost)
    if not allowance.allowed:
        raise TooMany(
            allowance.retry_after_s, "This chat gets too many messages. Wait a moment and send the message again."
        )
