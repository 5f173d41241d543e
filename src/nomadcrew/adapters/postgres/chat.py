"""The chat on PostgreSQL."""

import json
import re
from collections.abc import Sequence
from typing import Any

from nomadcrew.adapters.postgres.attachments import REFUSALS as OF_ATTACHMENTS
from nomadcrew.adapters.postgres.batching import Batcher
from nomadcrew.adapters.postgres.refusals import Refusals, raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, gate, statements
from nomadcrew.core.access import Access, Command
from nomadcrew.core.chat.events import stored_attachment
from nomadcrew.core.chat.model import (
    MAX_EDITS,
    MAX_REACTIONS,
    REPEATED_WITHIN,
    BadCursor,
    Message,
    MessageIdTaken,
    MessageNotFound,
    MessagePage,
    NewMessage,
    Reaction,
    ReactionCount,
    Receipt,
    ReplyNotFound,
    Sender,
    TooLateToEdit,
    TooManyEdits,
    TooManyReactions,
    editable_since,
)
from nomadcrew.core.errors import DomainError
from nomadcrew.core.events import TOMBSTONE, Outbox
from nomadcrew.core.ids import AttachmentId, EventId, MessageId, TripId, UserId, parse_uuid
from nomadcrew.core.permissions import Rule
from nomadcrew.core.text import search_key

_SQL = statements("chat")
_REFUSALS: Refusals = {
    "message_not_found": MessageNotFound,
    "reply_not_found": ReplyNotFound,
    "edit_window_over": TooLateToEdit,
    "too_many_edits": TooManyEdits,
    "invalid_cursor": BadCursor,
    "too_many_reactions": TooManyReactions,
    **OF_ATTACHMENTS,
}
_CURSOR = re.compile(r"m([0-9]{1,18})", re.ASCII)
_END = 2**63 - 1
_KNOWN = None  # the outcome if the message, or another one with its id, is stored already


class PostgresChat:
    def __init__(self, sql: Sql, outbox: Outbox) -> None:
        """`outbox` is notified of every write; each inserts an event."""
        self._sql = sql
        self._outbox = outbox
        self._batch: Batcher[tuple[NewMessage, Rule], Message | None] = Batcher(
            self._write, alone=sql.in_transaction
        )

    async def add(self, message: NewMessage, rule: Rule) -> Message:
        added = await self._batch((message, rule))
        if added is not _KNOWN:
            await self._outbox.after_commit()
            return added
        rows = await self._sql.fetch(
            _SQL["stored"],
            id=message.id,
            trip_id=message.trip_id,
            caller=message.author,
            fingerprint=message.fingerprint,
        )
        if not rows:
            raise MessageIdTaken
        return _message(rows[0])

    async def before(self, access: Access, cursor: str | None, *, limit: int, offset: int = 0) -> MessagePage:
        return await self._page(access, "before", cursor, limit, offset=offset, words="[]")

    async def after(self, access: Access, cursor: str, *, limit: int) -> MessagePage:
        return await self._page(access, "after", cursor, limit)

    async def search(self, access: Access, words: Sequence[str], cursor: str | None, *, limit: int) -> MessagePage:
        return await self._page(access, "before", cursor, limit, offset=0, words=json.dumps(words))

    async def edit(self, command: Command, message_id: MessageId, text: str) -> Message:
        [row] = await self._sql.fetch(
            _SQL["edit"],
            **gate(command),
            id=message_id,
            own=command.rule.own,
            body=text,
            folded=search_key(text),
            editable_since=editable_since(command.now),
            max_edits=MAX_EDITS,
            event_id=command.event_id,
            now=command.now,
        )
        raise_for_verdict(row["verdict"], also=_REFUSALS)
        await self._outbox.after_commit()
        return _message(row)

    async def delete(self, command: Command, message_id: MessageId) -> AttachmentId | None:
        [row] = await self._sql.fetch(
            _SQL["delete"],
            **gate(command),
            id=message_id,
            own=command.rule.own,
            tombstone=TOMBSTONE,
            event_id=command.event_id,
            now=command.now,
        )
        raise_for_verdict(row["verdict"], also=_REFUSALS)
        await self._outbox.after_commit()
        return None if row["file_id"] is None else AttachmentId(row["file_id"])

    async def add_reaction(self, reaction: Reaction, rule: Rule, event_id: EventId) -> Reaction:
        [row] = await self._sql.fetch(
            _SQL["react"], max_reactions=MAX_REACTIONS, now=reaction.created_at, **_params(reaction, rule, event_id)
        )
        raise_for_verdict(row["verdict"], "unchanged", also=_REFUSALS)
        await self._outbox.after_commit()
        return Reaction(reaction.message_id, reaction.trip_id, reaction.user_id, reaction.emoji, row["created_at"])

    async def remove_reaction(self, reaction: Reaction, rule: Rule, event_id: EventId) -> None:
        [row] = await self._sql.fetch(_SQL["unreact"], now=reaction.created_at, **_params(reaction, rule, event_id))
        raise_for_verdict(row["verdict"], also=_REFUSALS)
        await self._outbox.after_commit()

    async def list_reactions(self, access: Access, message_id: MessageId) -> Sequence[Reaction]:
        rows = await self._sql.fetch(
            _SQL["reactions"],
            **gate(access),
            id=message_id,
        )
        raise_for_verdict(rows[0]["verdict"], also=_REFUSALS)
        return [
            Reaction(message_id, access.trip_id, row["user_id"], row["emoji"], row["created_at"])
            for row in rows
            if row["user_id"] is not None
        ]

    async def mark_read(self, command: Command, message_id: MessageId) -> None:
        [row] = await self._sql.fetch(
            _SQL["read"],
            **gate(command),
            id=message_id,
            event_id=command.event_id,
            now=command.now,
        )
        raise_for_verdict(row["verdict"], also=_REFUSALS)
        await self._outbox.after_commit()

    async def list_receipts(self, access: Access) -> Sequence[Receipt]:
        rows = await self._sql.fetch(_SQL["receipts"], **gate(access))
        raise_for_verdict(rows[0]["verdict"], also=_REFUSALS)
        return [
            Receipt(sender, row["message_id"], row["read_at"])
            for row in rows
            if (sender := _sender(row)) is not None
        ]

    async def readers(self, trip_id: TripId, message_id: MessageId) -> frozenset[UserId]:
        rows = await self._sql.fetch(_SQL["readers"], trip_id=trip_id, id=message_id)
        return frozenset(row["user_id"] for row in rows)

    async def _write(self, batch: Sequence[tuple[NewMessage, Rule]]) -> Sequence[Message | DomainError | None]:
        rows = await self._sql.fetch(
            _SQL["add"],
            messages=json.dumps([_row(number, message) for number, (message, _) in enumerate(batch)]),
            # One rule for the batch: all messages have the same one.
            min_rank=batch[0][1].min_rank,
            now=min(message.now for message, _ in batch),
        )
        return [_added(message, row) for (message, _), row in zip(batch, rows, strict=True)]

    async def _page(
        self, access: Access, statement: str, cursor: str | None, limit: int, **params: object
    ) -> MessagePage:
        seq, message_id = _position(cursor)
        rows = await self._sql.fetch(
            _SQL[statement],
            **gate(access),
            cursor=seq,
            cursor_id=message_id,
            limit=limit + 1,
            **params,
        )
        raise_for_verdict(rows[0]["verdict"], also=_REFUSALS)
        stored = [row for row in rows if row["id"] is not None]
        page = stored[:limit]
        return MessagePage([_message(row) for row in page], f"m{page[-1]['seq']}" if len(stored) > limit else None)


def _position(cursor: str | None) -> tuple[int | None, MessageId | None]:
    """The position of a cursor: a sequence number in the chat, or a message's id."""
    if cursor is None:
        return _END, None
    if match := _CURSOR.fullmatch(cursor):
        return int(match[1]), None
    message_id = parse_uuid(cursor)
    if message_id is None:
        raise BadCursor
    return None, MessageId(message_id)


def _params(reaction: Reaction, rule: Rule, event_id: EventId) -> dict[str, Any]:
    return {
        "trip_id": reaction.trip_id,
        "id": reaction.message_id,
        "caller": reaction.user_id,
        "min_rank": rule.min_rank,
        "emoji": reaction.emoji,
        "event_id": event_id,
    }


def _row(number: int, message: NewMessage) -> dict[str, Any]:
    return {
        "n": number,
        "id": str(message.id),
        "trip_id": str(message.trip_id),
        "user_id": str(message.author),
        "body": message.text,
        "folded": search_key(message.text),
        "reply_to_id": None if message.reply_to_id is None else str(message.reply_to_id),
        "mentions": [list(names) for names in message.mentions],
        "event_id": str(message.event_id),
        "now": message.now.isoformat(),
        "kept_until": (message.now + REPEATED_WITHIN).isoformat(),
        "fingerprint": None if message.fingerprint is None else message.fingerprint.hex(),
        "attachment_id": None if message.attachment_id is None else str(message.attachment_id),
    }


def _added(message: NewMessage, row: Row) -> Message | DomainError | None:
    try:
        if raise_for_verdict(row["verdict"], "known", also=_REFUSALS) == "known":
            return _KNOWN
    except DomainError as refusal:
        return refusal
    sender = Sender(message.author, row["sender_name"], row["avatar_url"])
    return Message(
        message.id,
        message.trip_id,
        sender,
        message.text,
        message.reply_to_id,
        row["created_at"],
        attachment=stored_attachment(row["attachment"]),
    )


def _message(row: Row) -> Message:
    counts = json.loads(row["reactions"] or "[]")
    return Message(
        row["id"],
        row["trip_id"],
        _sender(row),
        row["body"],
        row["reply_to_id"],
        row["created_at"],
        row["edited_at"],
        row["deleted_at"],
        tuple(ReactionCount(**count) for count in counts),
        stored_attachment(row["attachment"]),
    )


def _sender(row: Row) -> Sender | None:
    if row["sender_id"] is None:
        return None
    return Sender(row["sender_id"], row["sender_name"], row["avatar_url"])
