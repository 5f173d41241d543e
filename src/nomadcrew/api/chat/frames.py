"""Chat frames of the socket: those of the shipped app, and `sendMessage`."""

from typing import TypeVar

import msgspec

from nomadcrew.api.chat.bodies import SocketMessage, SocketRead, SocketTyping, ack_payload
from nomadcrew.core.chat import service
from nomadcrew.core.chat.model import Message
from nomadcrew.core.errors import Invalid, TooMany
from nomadcrew.core.ids import AttachmentId, MessageId, TripId
from nomadcrew.web.decode import convert
from nomadcrew.web.sockets import FrameHandlers, SocketCall
from nomadcrew.wire.events import frame

Body = TypeVar("Body", bound=msgspec.Struct)


def add_chat_frames(actions: FrameHandlers) -> None:
    """Add the chat's frames to `actions`."""
    actions.on("CHAT_MESSAGE_SEND")(send_as_the_app_does)
    actions.on("sendMessage")(send)
    actions.on("TYPING_STATUS")(typing)
    actions.on("READ_RECEIPT")(read)


async def send_as_the_app_does(call: SocketCall) -> None:
    """Store a message without a reply: the app reads the event that every member gets."""
    await _send(call)


async def send(call: SocketCall) -> str:
    """Store a message and acknowledge it."""
    return frame("ack", ack_payload(await _send(call)) | call.reference)


async def typing(call: SocketCall) -> None:
    body = _read(call, SocketTyping)
    await service.send_typing(
        TripId(body.trip_id),
        call.user_id,
        is_typing=body.is_typing,
        presence=call.ports.presence,
        broadcaster=call.ports.broadcaster,
        new_id=call.ports.new_id,
        now=call.ports.clock(),
    )


async def read(call: SocketCall) -> None:
    body = _read(call, SocketRead)
    await service.mark_read(
        TripId(body.trip_id),
        MessageId(body.message_id),
        call.user_id,
        chat=call.ports.chat,
        new_id=call.ports.new_id,
        now=call.ports.clock(),
    )


async def _send(call: SocketCall) -> Message:
    body = _read(call, SocketMessage)
    allowance = await call.ports.limits.spend("chat", str(call.user_id))
    if not allowance.allowed:
        raise TooMany(allowance.retry_after_s, "Too many messages. Wait a moment and send the message again.")
    return await service.send_message(
        TripId(body.trip_id),
        body.text,
        call.user_id,
        message_id=None if body.message_id is None else MessageId(body.message_id),
        reply_to_id=None if body.reply_to_id is None else MessageId(body.reply_to_id),
        attachment_id=None if body.attachment_id is None else AttachmentId(body.attachment_id),
        chat=call.ports.chat,
        limits=call.ports.limits,
        new_id=call.ports.new_id,
        now=call.ports.clock(),
    )


def _read(call: SocketCall, type_: type[Body]) -> Body:
    try:
        body: Body = convert(call.payload, type_)
    except Invalid as error:
        text = "The frame lacks a required field, or has one of another type."
        raise Invalid(text, code="invalid_request_payload", details=error.details) from None
    return body
