"""The envelope every event travels in, and the frames of the socket."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from nomadcrew.core.events import Event


class Metadata(Struct):
    source: str


class Envelope(Struct, rename="camel"):
    """An event as clients get it, live and from the record. `userId` is who acted, or whom `MEMBER_*` is about."""

    id: UUID
    type: str
    trip_id: str
    timestamp: datetime
    version: int
    metadata: Metadata
    payload: Raw
    user_id: UUID | UnsetType = UNSET


class EventPageView(Struct):
    """Events oldest first. `next` is the `after` of the following page."""

    events: list[Envelope]
    next: UUID | None
    has_more: bool


class Frame(Struct, omit_defaults=True):
    """What the server says on a socket."""

    type: str
    payload: Any = UNSET
    error: str = ""


def envelope(event: Event) -> Envelope:
    return Envelope(
        id=event.id,
        type=event.type,
        trip_id="" if event.trip_id is None else str(event.trip_id),
        timestamp=event.occurred_at,
        version=1,
        metadata=Metadata(event.source),
        payload=Raw(event.payload.encode()),
        user_id=UNSET if event.actor_id is None else event.actor_id,
    )


_encode = msgspec.json.Encoder().encode


def event_frame(event: Event) -> str:
    """The frame that carries an event, encoded once for every socket it goes to."""
    return _encode(Frame("event", envelope(event))).decode()


def frame(type_: str, payload: Any = UNSET, error: str = "") -> str:
    return _encode(Frame(type_, payload, error)).decode()


PONG = frame("pong")


class StoredEvent(Struct):
    """An event on its way through a work queue."""

    id: UUID
    type: str
    source: str
    trip_id: UUID | None
    actor_id: UUID | None
    recipient_id: UUID | None
    audience: str
    occurred_at: datetime
    payload: str


_decode_stored = msgspec.json.Decoder(StoredEvent).decode


def pack(event: Event) -> str:
    """An event as a work queue's message."""
    return _encode(event).decode()


def unpack(body: str) -> Event:
    """The event of a message.

    Raises:
        msgspec.MsgspecError: the message is none.
    """
    stored = _decode_stored(body)
    return Event(*(getattr(stored, name) for name in Event.__slots__))
