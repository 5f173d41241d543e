"""The envelope every event travels in, and the frames of the socket."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from nomadcrew.core.errors import Hopeless
from nomadcrew.core.events import Event


class Metadata(Struct):
    source: str


class Envelope(Struct, rename="camel"):
    """An event as clients get it, live and from the record. `userId` is who acted, or whom `MEMBER_*` is about.

    `kept` is there, and false, for what is told live only: nobody can ask for what came after it.
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
        kept=UNSET if event.kept else False,
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
    kept: bool = True


class Delivered(Struct):
    """What a bus puts around an event it delivers to a queue."""

    detail: StoredEvent | None = None


_decode_delivered = msgspec.json.Decoder(Delivered).decode
_decode_stored = msgspec.json.Decoder(StoredEvent).decode

# The areas that events come from on the bus; their own `source` is what the monolith's clients know.
_AREAS = {
    "trip-management-service": "nomadcrew.trips",
    "member-service": "nomadcrew.trips",
    "invitation-service": "nomadcrew.invitations",
    "todo_model": "nomadcrew.todos",
    "location-service": "nomadcrew.locations",
    "NotificationService": "nomadcrew.notifications",
}


def bus_source(event: Event) -> str:
    """Where an event comes from, in a bus's terms: `nomadcrew.` and an area."""
    return _AREAS.get(event.source, event.source)


def detail_type(type_: str) -> str:
    """An event's type in a bus's terms: `TODO_CREATED` is a `Todo Created`."""
    return type_.replace("_", " ").replace(".", " ").title()


class NoEvent(Hopeless):
    """A message is no event, and will not become one."""


def pack(event: Event) -> str:
    """An event as a work queue's message."""
    return _encode(event).decode()


def unpack(body: str) -> Event:
    """The event of a message, whether a bus delivered it or it was put into the queue as it is.

    Raises:
        NoEvent: the message is none.
    """
    try:
        found = _decode_delivered(body).detail or _decode_stored(body)
    except msgspec.MsgspecError as error:
        raise NoEvent(type(error).__name__) from error
    return event_of(found)


def stored(event: Event) -> StoredEvent:
    return StoredEvent(*(getattr(event, name) for name in Event.__slots__))


def event_of(found: StoredEvent) -> Event:
    return Event(*(getattr(found, name) for name in Event.__slots__))
