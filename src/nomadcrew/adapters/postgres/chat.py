"""The chat on PostgreSQL."""

import re
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from nomadcrew.adapters.postgres.attachments import REFUSALS as OF_ATTACHMENTS
from nomadcrew.adapters.postgres.batching import Batcher
from nomadcrew.adapters.postgres.refusals import Refusals, raise_for_verdict, refusal
from nomadcrew.adapters.postgres.sql import Row, Sql, command_row, gate, json_param, statements
from nomadcrew.core.access import Access, Command
from nomadcrew.core.chat.events import attachment_json, stored_attachment
from nomadcrew.core.chat.model import (
    MAX_EDITS,
    MAX_REACTIONS,
    REPEATED_WITHIN,
    BadCursor,
    Edit,
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
    Transcribed,
    TranscriptPage,
    editable_since,
)
from nomadcrew.core.errors import DomainError
from nomadcrew.core.events import TOMBSTONE, Outbox
from nomadcrew.core.ids import AttachmentId, EventId, MessageId, TripId, UserId, derived_id, parse_uuid
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
_message_columns = itemgetter(
    "id", "trip_id", "sender_id", "sender_name", "avatar_url", "body", "reply_to_id", "created_at", "edited_at",
    "deleted_at", "reactions", "attachment",
)  # fmt: skip
_decode_each = msgspec.json.Decoder(tuple[tuple[UserId, str, datetime], ...]).decode
_decode_edits = msgspec.json.Decoder(tuple[tuple[str, datetime], ...]).decode
_decode_reactions = msgspec.json.Decoder(tuple[ReactionCount, ...]).decode
_KNOWN = None  # the outcome if the message, or another one with its id, is stored already


class _Reacting(Struct, frozen=True):
    """A reaction to add or to remove."""

    reaction: Reaction
    rule: Rule
    event_id: EventId

    @property
    def subject(self) -> tuple[MessageId, UserId]:
        return self.reaction.message_id, self.reaction.user_id

    def as_row(self, n: int) -> dict[str, object]:
        reaction = self.reaction
        return {
            "n": n,
            "id": reaction.message_id,
            "trip_id": reaction.trip_id,
            "caller": reaction.user_id,
            "min_rank": self.rule.min_rank,
            "emoji": reaction.emoji,
            "event_id": self.event_id,
            "now": reaction.created_at,
        }


class _Reading(Struct, frozen=True):
    """A receipt of a message."""

    command: Command
    message_id: MessageId

    @property
    def subject(self) -> tuple[TripId, UserId]:
        return self.command.trip_id, self.command.caller

    def as_row(self, n: int) -> dict[str, object]:
        return {"n": n, "id": self.message_id, **command_row(self.command)}


class PostgresChat:
    def __init__(self, sql: Sql, outbox: Outbox) -> None:
        """`outbox` is notified of every write; each inserts an event."""
        self._sql = sql
        self._outbox = outbox
        self._batch: Batcher[tuple[NewMessage, Rule], Message | None] = Batcher(
            self._write, alone=sql.in_transaction
        )
        alone, subject = sql.in_transaction, attrgetter("subject")
        self._react: Batcher[_Reacting, Reaction] = Batcher(self._react_all, alone=alone, key=subject)
        self._unreact: Batcher[_Reacting, None] = Batcher(self._unreact_all, alone=alone, key=subject)
        self._read: Batcher[_Reading, None] = Batcher(self._read_all, alone=alone, key=subject)

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
        return await self._page(access, "before", cursor, limit, offset=0, words=json_param(words))

    async def transcript(self, access: Access, cursor: str | None, *, limit: int) -> TranscriptPage:
        seq, message_id = (0, None) if cursor is None else _position(cursor)
        rows = await self._sql.fetch(
            _SQL["transcript"], **gate(access), cursor=seq, cursor_id=message_id, limit=limit + 1
        )
        raise_for_verdict(rows[0]["verdict"], also=_REFUSALS)
        stored = [row for row in rows if row["id"] is not None]
        page = stored[:limit]
        return TranscriptPage(
            [_transcribed(row) for row in page], f"m{page[-1]['seq']}" if len(stored) > limit else None
        )

    async def restore(self, trip_id: TripId, messages: Sequence[Transcribed], *, first_number: int) -> None:
        rows = [_restored_row(number, each) for number, each in enumerate(messages, first_number)]
        await self._sql.fetch(_SQL["restore"], trip_id=trip_id, messages=json_param(rows))

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
        stored = await self._react(_Reacting(reaction, rule, event_id))
        await self._outbox.after_commit()
        return stored

    async def remove_reaction(self, reaction: Reaction, rule: Rule, event_id: EventId) -> None:
        await self._unreact(_Reacting(reaction, rule, event_id))
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
        await self._read(_Reading(command, message_id))
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
            messages=json_param([_row(number, message) for number, (message, _) in enumerate(batch)]),
            # One rule for the batch: all messages have the same one.
            min_rank=batch[0][1].min_rank,
            now=min(message.now for message, _ in batch),
        )
        return [_added(message, row) for (message, _), row in zip(batch, rows, strict=True)]

    async def _react_all(self, batch: Sequence[_Reacting]) -> Sequence[Reaction | DomainError]:
        rows = await self._sql.fetch(_SQL["react"], reactions=_rows(batch), max_reactions=MAX_REACTIONS)
        return [
            refusal(row["verdict"], "unchanged", also=_REFUSALS)
            or replace(reacting.reaction, created_at=row["created_at"])
            for reacting, row in zip(batch, rows, strict=True)
        ]

    async def _unreact_all(self, batch: Sequence[_Reacting]) -> Sequence[DomainError | None]:
        rows = await self._sql.fetch(_SQL["unreact"], reactions=_rows(batch))
        return [refusal(row["verdict"], also=_REFUSALS) for row in rows]

    async def _read_all(self, batch: Sequence[_Reading]) -> Sequence[DomainError | None]:
        rows = await self._sql.fetch(_SQL["read"], receipts=_rows(batch))
        return [refusal(row["verdict"], also=_REFUSALS) for row in rows]

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


def _rows(batch: Sequence[_Reacting | _Reading]) -> str:
    return json_param([item.as_row(n) for n, item in enumerate(batch)])


def _row(number: int, message: NewMessage) -> dict[str, Any]:
    return {
        "n": number,
        "id": message.id,
        "trip_id": message.trip_id,
        "user_id": message.author,
        "body": message.text,
        "folded": search_key(message.text),
        "reply_to_id": message.reply_to_id,
        "mentions": message.mentions,
        "event_id": message.event_id,
        "now": message.now,
        "kept_until": message.now + REPEATED_WITHIN,
        "fingerprint": None if message.fingerprint is None else message.fingerprint.hex(),
        "attachment_id": message.attachment_id,
    }


def _restored_row(number: int, restored: Transcribed) -> dict[str, Any]:
    message = restored.message
    return {
        "id": message.id,
        "seq": number,
        "user_id": None if message.sender is None else message.sender.id,
        "body": message.text,
        "folded": "" if message.deleted_at is not None else search_key(message.text),
        "reply_to_id": message.reply_to_id,
        "event_id": derived_id(message.id, "restored"),
        "attachment": None if message.attachment is None else attachment_json(message.attachment),
        "created_at": message.created_at,
        "edited_at": message.edited_at,
        "deleted_at": message.deleted_at,
        "reactions": [
            {"user_id": one.user_id, "emoji": one.emoji, "created_at": one.created_at} for one in restored.reactions
        ],
        "edits": [
            {"event_id": derived_id(message.id, f"edit {n}"), "body": edit.text, "edited_at": edit.edited_at}
            for n, edit in enumerate(restored.edits)
        ],
    }


def _added(message: NewMessage, row: Row) -> Message | DomainError | None:
    refused = refusal(row["verdict"], "known", also=_REFUSALS)
    if refused is not None:
        return refused
    if row["verdict"] == "known":
        return _KNOWN
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


def _transcribed(row: Row) -> Transcribed:
    # As in `_message`, without counts: the reactions are there one by one.
    message = Message(
        row["id"],
        row["trip_id"],
        _sender(row),
        row["body"],
        row["reply_to_id"],
        row["created_at"],
        row["edited_at"],
        row["deleted_at"],
        attachment=None if row["attachment"] is None else stored_attachment(row["attachment"]),
    )
    return Transcribed(
        message,
        [
            Reaction(message.id, message.trip_id, user_id, emoji, created_at)
            for user_id, emoji, created_at in _decode_each(row["reactions"] or "[]")
        ],
        [Edit(text, edited_at) for text, edited_at in _decode_edits(row["edits"] or "[]")],
    )


def _message(row: Row) -> Message:
    (id_, trip_id, sender_id, sender_name, avatar_url, body, reply_to_id, created_at, edited_at, deleted_at,
     reactions, attachment) = _message_columns(row)  # fmt: skip
    return Message(
        id_,
        trip_id,
        None if sender_id is None else Sender(sender_id, sender_name, avatar_url),
        body,
        reply_to_id,
        created_at,
        edited_at,
        deleted_at,
        () if reactions is None else _decode_reactions(reactions),
        None if attachment is None else stored_attachment(attachment),
    )


def _sender(row: Row) -> Sender | None:
    if row["sender_id"] is None:
        return None
    return Sender(row["sender_id"], row["sender_name"], row["avatar_url"])
