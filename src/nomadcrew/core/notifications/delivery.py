"""Delivers pushes to phones and evaluates their receipts."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from msgspec import Struct, structs

from nomadcrew.core.chat.ports import ChatLog
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import EventId, MessageId, PushTokenId, TripId
from nomadcrew.core.notifications.push import (
    CHAT_MESSAGE,
    MAX_BATCH,
    MAX_PAYLOAD_BYTES,
    MAX_RECEIPTS,
    Phone,
    Push,
    PushError,
    PushMessage,
    PushRefused,
    PushTask,
    PushTokens,
    Ticket,
)
from nomadcrew.core.notifications.texts import preview, push_body, push_title
from nomadcrew.core.realtime import AwakeSockets

log = logging.getLogger("nomadcrew.push")

# No id is longer, and a shorter text is not worth showing.
_SHORT = 40  # characters
Item = TypeVar("Item")


class PushOutcome(Struct, frozen=True):
    """The number of accepted messages, and of those left for another attempt."""

    taken: int
    left: int


async def deliver(task: PushTask, *, tokens: PushTokens, push: Push, now: datetime) -> PushOutcome:
    """Push to every phone that has not received this push. Safe to repeat and to run concurrently.

    Phones are claimed first and recorded batch by batch, so that a repeat sends only the rest. A crash between a
    call and its record sends that batch twice.

    Raises:
        PushRefused: the push service refuses our credentials.
        Unavailable: the phones cannot be read.
    """
    claimed = await tokens.claim(task.id, list(task.recipients), now=now)
    taken, left = 0, claimed.held
    for batch in _batches(claimed.phones, MAX_BATCH):
        try:
            sent = await _send(task, batch, push)
        except PushRefused:
            await tokens.release(task.id, [phone.id for phone in claimed.phones])
            raise
        taken += await _record(task.id, sent, tokens, now)
        waiting = [phone.id for phone, ticket in sent if ticket.error is PushError.LATER]
        if waiting:
            await tokens.release(task.id, waiting)
            left += len(waiting)
    return PushOutcome(taken, left)


async def unread(task: PushTask, *, chat: ChatLog, sockets: AwakeSockets) -> PushTask:
    """The push without the members who have read its message, or whose device is awake and gets the trip's events.

    Raises:
        Unavailable: the receipts cannot be read.
    """
    if task.type != CHAT_MESSAGE:
        return task
    trip_id, message_id = TripId(UUID(task.metadata["chatID"])), MessageId(UUID(task.metadata["messageID"]))
    readers = await chat.readers(trip_id, message_id)
    others = [user_id for user_id in task.recipients if user_id not in readers]
    awake = await sockets.awake(others, trip_id)
    return structs.replace(task, recipients={user: task.recipients[user] for user in others if user not in awake})


async def _send(task: PushTask, batch: Sequence[Phone], push: Push) -> Sequence[tuple[Phone, Ticket]]:
    """The tickets of a batch. In an outage the whole batch is for later; the next batch is still tried."""
    try:
        tickets = await push.send([message_to(phone, task) for phone in batch])
    except Unavailable as error:
        log.warning(
            "Push batch failed: unavailable", extra={"fields": {"reason": error.details, "phones": len(batch)}}
        )
        tickets = [Ticket(error=PushError.LATER) for _ in batch]
    return list(zip(batch, tickets, strict=True))


async def check_receipts(push_id: EventId, *, tokens: PushTokens, push: Push, now: datetime) -> int:
    """Evaluate the receipts of a push. Returns the number of messages without a receipt yet. Safe to repeat.

    Raises:
        PushRefused, Unavailable: as `Push` says.
    """
    tickets = await tokens.tickets(push_id)
    dead: list[PushTokenId] = []
    known = refused = 0
    for batch in _batches(list(tickets), MAX_RECEIPTS):
        receipts = await push.receipts(batch)
        known += len(receipts)
        dead += [tickets[ticket] for ticket, error in receipts.items() if error is PushError.GONE]
        refused += sum(error not in (None, PushError.GONE) for error in receipts.values())
    if dead:
        await tokens.forget(dead, now=now)
    log.info(
        "Push receipts checked",
        extra={"fields": {"delivered": known - refused - len(dead), "refused": refused, "gone": len(dead)}},
    )
    return len(tickets) - known


def message_to(phone: Phone, task: PushTask) -> PushMessage:
    """The message for one phone: the notification's metadata, flat, with its id and type."""
    data = {**task.metadata, "notificationId": str(task.recipients[phone.user_id]), "type": task.type}
    return fitted(
        PushMessage(phone.token, push_title(task.type, task.metadata), push_body(task.type, task.metadata), data)
    )


def fitted(message: PushMessage) -> PushMessage:
    """The message within `MAX_PAYLOAD_BYTES`: its longest texts are cut, ids and keys never."""
    while _bytes(message) > MAX_PAYLOAD_BYTES:
        texts = {key: text for key, text in message.data.items() if isinstance(text, str)}
        longest = max(texts, key=lambda key: len(texts[key]), default="")
        in_data = len(texts.get(longest, ""))
        if max(in_data, len(message.body), len(message.title)) <= _SHORT:
            return message
        if in_data >= max(len(message.body), len(message.title)):
            message = replace(message, data={**message.data, longest: _halved(texts[longest])})
        elif len(message.body) >= len(message.title):
            message = replace(message, body=_halved(message.body))
        else:
            message = replace(message, title=_halved(message.title))
    return message


async def _record(push_id: EventId, sent: Sequence[tuple[Phone, Ticket]], tokens: PushTokens, now: datetime) -> int:
    """Store a batch's tickets and deactivate dead phones. Returns the number of accepted messages."""
    done = {phone.id: ticket.id for phone, ticket in sent if ticket.error is not PushError.LATER}
    dead = [phone.id for phone, ticket in sent if ticket.error is PushError.GONE]
    refused = sum(ticket.error is PushError.REFUSED for _, ticket in sent)
    if done:
        await tokens.sent(push_id, done, now=now)
    if dead:
        await tokens.forget(dead, now=now)
    taken = len(done) - len(dead) - refused
    log.info("Push batch sent", extra={"fields": {"taken": taken, "refused": refused, "gone": len(dead)}})
    return taken


def _bytes(message: PushMessage) -> int:
    whole: dict[str, Any] = {"title": message.title, "body": message.body, "data": message.data}
    return len(json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode())


def _halved(text: str) -> str:
    return preview(text, max(_SHORT, len(text) // 2))


def _batches(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
