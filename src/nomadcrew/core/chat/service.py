"""Chat: sending, reading, editing, reacting, typing."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from nomadcrew.core.access import Access, Command
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
    key_of,
    mentioned,
    words_of,
)
from nomadcrew.core.chat.ports import ChatLog
from nomadcrew.core.errors import DomainError, TooMany, Unavailable
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import AttachmentId, EventId, MessageId, NewId, TripId, UserId
from nomadcrew.core.permissions import rule
from nomadcrew.core.presence.ports import Presence
from nomadcrew.core.rate_limits import RateLimits
from nomadcrew.core.realtime import Broadcaster

MAX_CURSOR = 200  # characters
TRIP_BUCKET = "chat_trip"


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
    """Store a message. A repeat with the client's own id returns the stored message.

    Args:
        fingerprint: identifies a repeat if the client gave no id.

    Raises:
        Invalid: the text is empty or too long.
        TooMany: the trip's chat has reached its rate limit.
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
    allowance = await limits.spend(TRIP_BUCKET, str(trip_id))
    if not allowance.allowed:
        raise TooMany(
            allowance.retry_after_s, "This chat gets too many messages. Wait a moment and send the message again."
        )
    try:
        return await chat.add(message, rule("chat", "create"))
    except DomainError:
        # Only members can use up the chat's limit.
        await limits.spend(TRIP_BUCKET, str(trip_id), cost=-1)
        raise


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
    """Messages, newest first; with `after` the newer ones, oldest first; with `query` the matches, newest first.

    Raises:
        Invalid: a cursor or the query is not valid.
        DomainError: as `ChatLog` says.
    """
    if any(cursor is not None and not 0 < len(cursor) <= MAX_CURSOR for cursor in (before, after)):
        raise BadCursor
    read_rule = rule("chat", "read")
    if query is not None:
        return await chat.search(Access(trip_id, caller, read_rule), words_of(query), before, limit=limit)
    if after is not None:
        return await chat.after(Access(trip_id, caller, read_rule), after, limit=limit)
    return await chat.before(Access(trip_id, caller, read_rule), before, limit=limit, offset=offset)


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
    """Change the text of the caller's own message, within `EDITABLE_FOR`.

    Raises:
        Invalid: the text is empty or too long; `TooLateToEdit`; `TooManyEdits`.
        DomainError: as `ChatLog` says.
    """
    return await chat.edit(
        Command(trip_id, caller, rule("chat", "update"), EventId(new_id()), now), message_id, checked_text(text)
    )


async def delete_message(
    trip_id: TripId,
    message_id: MessageId,
    caller: UserId,
    *,
    chat: ChatLog,
    files: Files,
    new_id: NewId,
    now: datetime,
) -> None:
    """Delete the caller's own message and its file; an ADMIN may delete any message.

    Links to the file that were given out before end with it. In an outage, the upkeep deletes the file later.
    """
    file_id = await chat.delete(
        Command(trip_id, caller, rule("chat", "delete"), EventId(new_id()), now), message_id
    )
    if file_id is not None:
        with suppress(Unavailable):
            await files.delete(key_of(trip_id, file_id))


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
    """React to a message. The same emoji again changes nothing."""
    reaction = Reaction(message_id, trip_id, caller, checked_emoji(emoji), now)
    return await chat.add_reaction(reaction, rule("chat", "react"), EventId(new_id()))


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
    """Remove the caller's own reaction."""
    reaction = Reaction(message_id, trip_id, caller, emoji, now)
    await chat.remove_reaction(reaction, rule("chat", "react"), EventId(new_id()))


async def list_reactions(
    trip_id: TripId, message_id: MessageId, caller: UserId, *, chat: ChatLog
) -> Sequence[Reaction]:
    return await chat.list_reactions(Access(trip_id, caller, rule("chat", "read")), message_id)


async def mark_read(
    trip_id: TripId, message_id: MessageId, caller: UserId, *, chat: ChatLog, new_id: NewId, now: datetime
) -> None:
    """Move the caller's last read message forward."""
    await chat.mark_read(Command(trip_id, caller, rule("chat", "read"), EventId(new_id()), now), message_id)


async def read_by(trip_id: TripId, caller: UserId, *, chat: ChatLog) -> Sequence[Receipt]:
    return await chat.list_receipts(Access(trip_id, caller, rule("chat", "read")))


async def send_typing(
    trip_id: TripId,
    caller: UserId,
    *,
    is_typing: bool,
    presence: Presence,
    broadcaster: Broadcaster,
    new_id: NewId,
    now: datetime,
) -> None:
    """Broadcast that the caller is typing or has stopped, unless the caller is in ghost mode."""
    typist = await presence.typist(Access(trip_id, caller, rule("chat", "create")))
    if typist is not None and broadcaster.has_listeners():
        sender = Sender(caller, typist.name, typist.avatar)
        await broadcaster.broadcast(events.typing(EventId(new_id()), trip_id, sender, is_typing=is_typing, now=now))
