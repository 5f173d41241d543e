"""The envelope of events for clients, their form in queues, and the frames of the socket."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from nomadcrew.core.errors import PermanentFailure
from nomadcrew.core.events import Event


class Metadata(Struct):
    source: str


class Envelope(Struct, rename="camel"):
    """An event for clients, on a socket or from `GET /v1/events`. `userId` is the actor, or the member of a
    `MEMBER_*` event.

    `kept` is false for a broadcast, which is not stored and cannot be used as `after`, and absent otherwise.
    """

    id: UUID
    type: str
    trip_id: str
    timestamp: datetime
    version: int
    metadata: Metadata
    payload: Raw
    user_id: UUID | UnsetType = UNSET
    kept: bool | UnsetType = UNSET


class EventPageView(Struct):
    """Events, oldest first. `next` is the `after` of the following page."""

    events: list[Envelope]
    next: UUID | None
    has_more: bool


class Frame(Struct, omit_defaults=True):
    """A frame from the server."""

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
        kept=UNSET if event.kept else False,
    )


_encode = msgspec.json.Encoder().encode


def event_frame(event: Event) -> str:
    """The frame of an event, encoded once for all sockets."""
    return _encode(Frame("event", envelope(event))).decode()


def frame(type_: str, payload: Any = UNSET, error: str = "") -> str:
    return _encode(Frame(type_, payload, error)).decode()


PONG = frame("pong")


class StoredEvent(Struct):
    """An event in a work queue."""

    id: UUID
    type: str
    source: str
    trip_id: UUID | None
    actor_id: UUID | None
    recipient_id: UUID | None
    audience: str
    occurred_at: datetime
    payload: str
    kept: bool = True


class BusEvent(Struct):
    """The envelope that EventBridge puts around an event."""

    detail: StoredEvent | None = None


_decode_delivered = msgspec.json.Decoder(BusEvent).decode
_decode_stored = msgspec.json.Decoder(StoredEvent).decode

# EventBridge sources by event source; an event's own `source` keeps the names of the monolith.
_AREAS = {
    "trip-management-service": "nomadcrew.trips",
    "member-service": "nomadcrew.trips",
    "invitation-service": "nomadcrew.invitations",
    "todo_model": "nomadcrew.todos",
    "poll_model": "nomadcrew.polls",
    "location-service": "nomadcrew.locations",
    "document-service": "nomadcrew.documents",
    "picture-service": "nomadcrew.pictures",
    "NotificationService": "nomadcrew.notifications",
}


def bus_source(event: Event) -> str:
    """The event's source on EventBridge: `nomadcrew.` and an area."""
    return _AREAS.get(event.source, event.source)


def detail_type(type_: str) -> str:
    """The event's detail type on EventBridge: `Todo Created` for `TODO_CREATED`."""
    return type_.replace("_", " ").replace(".", " ").title()


class NotAnEvent(PermanentFailure):
    """A message is not an event; retrying cannot help."""


def pack(event: Event) -> str:
    """Encode an event as a work queue's message."""
    return _encode(event).decode()


def unpack(body: str) -> Event:
    """Decode a message, with or without EventBridge's envelope.

    Raises:
        NotAnEvent: the message is not an event.
    """
    try:
        event = _decode_delivered(body).detail or _decode_stored(body)
    except msgspec.MsgspecError as error:
        raise NotAnEvent(type(error).__name__) from error
    return event_of(event)


def stored(event: Event) -> StoredEvent:
    return StoredEvent(*(getattr(event, name) for name in Event.__struct_fields__))


def event_of(event: StoredEvent) -> Event:
    return Event(*(getattr(event, name) for name in Event.__struct_fields__))
