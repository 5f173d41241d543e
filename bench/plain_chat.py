"""The chat routes of the plain stack."""
# Checked against the real packages in .venv-bench; in .venv, where they are missing, they are Any.
# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: allow-subclassing-any, allow-untyped-decorators, no-warn-return-any

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, status
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, selectinload

from bench.plain_models import ChatMessage, Reaction, Receipt, Thread
from bench.plain_shapes import (
    CursorPagination,
    HistoryOut,
    MessageOut,
    ReactedOut,
    ReactionCountOut,
    SenderOut,
    SentOut,
    StatusOut,
)
from bench.plain_shared import Caller, Database, broadcast, member_of

router = APIRouter(prefix="/v1/trips/{trip_id}/chat/messages")


class MessageIn(BaseModel):
    content: str = Field(min_length=1, max_length=1000)


class ReadIn(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    last_read_message_id: uuid.UUID


class EmojiIn(BaseModel):
    emoji: str = Field(min_length=1, max_length=10)


@router.get("", response_model=HistoryOut, response_model_exclude_none=True)
async def list_messages(
    trip_id: uuid.UUID,
    caller: Caller,
    session: Database,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    before: int | None = None,
) -> Any:
    await member_of(session, trip_id, caller)
    query = select(ChatMessage).where(ChatMessage.trip_id == trip_id).order_by(ChatMessage.seq.desc())
    if before is not None:
        query = query.where(ChatMessage.seq < before)
    found = await session.scalars(
        query.limit(limit + 1).options(joinedload(ChatMessage.sender), selectinload(ChatMessage.reactions))
    )
    messages = list(found)
    page, has_more = messages[:limit], len(messages) > limit
    pagination = CursorPagination(
        has_more=has_more,
        limit=limit,
        next_cursor=f"m{page[-1].seq}" if has_more else None,
        before=None if before is None else str(before),
    )
    return HistoryOut(messages=[message_out(message, caller) for message in page], pagination=pagination)


@router.post("", response_model=SentOut, response_model_exclude_none=True, status_code=status.HTTP_201_CREATED)
async def send_message(trip_id: uuid.UUID, body: MessageIn, caller: Caller, session: Database) -> Any:
    membership = await member_of(session, trip_id, caller)
    thread = await session.scalar(select(Thread).where(Thread.trip_id == trip_id).with_for_update())
    now = datetime.now(UTC)
    if thread is None:
        thread = Thread(trip_id=trip_id, last_seq=0, last_at=now)
        session.add(thread)
    thread.last_seq += 1
    thread.last_at = now
    message = ChatMessage(
        id=uuid.uuid4(), trip_id=trip_id, seq=thread.last_seq, user_id=caller, body=body.content,
        folded=body.content.casefold(), event_id=uuid.uuid4(), created_at=now,
    )  # fmt: skip
    session.add(message)
    await session.commit()
    sent = SentOut(id=message.id, trip_id=trip_id, user_id=caller, message=message.body, created_at=now)
    payload = sent.model_dump(mode="json", by_alias=True, exclude_none=True)
    await broadcast(session, trip_id, "CHAT_MESSAGE_SENT", payload | {"sender": str(membership.user_id)})
    return sent


@router.put("/read", response_model=StatusOut)
async def mark_read(trip_id: uuid.UUID, body: ReadIn, caller: Caller, session: Database) -> Any:
    await member_of(session, trip_id, caller)
    message = await message_of(session, trip_id, body.last_read_message_id)
    receipt = insert(Receipt).values(
        trip_id=trip_id, user_id=caller, message_id=message.id, seq=message.seq, read_at=datetime.now(UTC)
    )
    moved = await session.scalar(
        receipt.on_conflict_do_update(
            index_elements=[Receipt.trip_id, Receipt.user_id],
            set_={name: receipt.excluded[name] for name in ("message_id", "seq", "read_at")},
            where=Receipt.seq < receipt.excluded.seq,
        ).returning(Receipt.message_id)
    )
    await session.commit()
    if moved is not None:
        await broadcast(
            session, trip_id, "CHAT_READ_RECEIPT", {"messageId": str(message.id), "userId": str(caller)}
        )
    return StatusOut(status="Messages marked as read")


@router.post("/{message_id}/reactions", response_model=ReactedOut, status_code=status.HTTP_201_CREATED)
async def react(trip_id: uuid.UUID, message_id: uuid.UUID, body: EmojiIn, caller: Caller, session: Database) -> Any:
    await member_of(session, trip_id, caller)
    message = await message_of(session, trip_id, message_id)
    added = await session.scalar(
        insert(Reaction)
        .values(message_id=message.id, user_id=caller, emoji=body.emoji, created_at=datetime.now(UTC))
        .on_conflict_do_nothing()
        .returning(Reaction.message_id)
    )
    await session.commit()
    reacted = ReactedOut(message_id=message.id, user_id=caller, emoji=body.emoji)
    if added is not None:
        await broadcast(session, trip_id, "CHAT_REACTION_ADDED", reacted.model_dump(mode="json", by_alias=True))
    return reacted


async def message_of(session: AsyncSession, trip_id: uuid.UUID, message_id: uuid.UUID) -> ChatMessage:
    message = await session.scalar(
        select(ChatMessage).where(ChatMessage.id == message_id, ChatMessage.trip_id == trip_id)
    )
    if message is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "message_not_found")
    return message


def message_out(message: ChatMessage, caller: uuid.UUID) -> MessageOut:
    sender = message.sender
    return MessageOut(
        id=message.id,
        trip_id=message.trip_id,
        content=message.body,
        sender=SenderOut(
            id=uuid.UUID(int=0) if sender is None else sender.id,
            name="Deleted user" if sender is None else sender.display_name,
        ),
        created_at=message.created_at,
        updated_at=message.edited_at,
        reply_to_id=message.reply_to_id,
        edited_at=message.edited_at,
        deleted_at=message.deleted_at,
        reactions=counts(message.reactions, caller) or None,
    )


def counts(reactions: list[Reaction], caller: uuid.UUID) -> list[ReactionCountOut]:
    by_emoji: dict[str, ReactionCountOut] = {}
    for reaction in reactions:
        counted = by_emoji.setdefault(reaction.emoji, ReactionCountOut(emoji=reaction.emoji, count=0, mine=False))
        counted.count += 1
        counted.mine = counted.mine or reaction.user_id == caller
    return list(by_emoji.values())
