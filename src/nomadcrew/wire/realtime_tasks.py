"""Messages of the realtime queue."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from nomadcrew.core.events import Event
from nomadcrew.core.ids import UserId
from nomadcrew.core.realtime import Connection
from nomadcrew.wire.events import StoredEvent, stored


class RealtimeTask(msgspec.Struct, rename="camel", omit_defaults=True):
    """A message of the realtime queue that is not an event.

    `greet`: greet this new connection. `drop`: drop this dead connection. `keep_alive`: send a frame to every
    socket. `event`: send it to the sockets of `user_ids`, whatever its audience. `online`: announce `user_id`
    as online or offline, unless that has changed meanwhile.
    """

    greet: str = ""
    drop: str = ""
    user_id: UUID | None = None
    keep_alive: bool = False
    online: bool | None = None
    user_ids: list[UUID] = []
    event: StoredEvent | None = None


KEEP_ALIVE = msgspec.json.encode(RealtimeTask(keep_alive=True)).decode()
task_in = msgspec.json.Decoder(RealtimeTask).decode


def greet_task(connection_id: str, user_id: UserId, *, first: bool) -> str:
    """Queue message: greet this connection; if it is the user's `first`, announce the user online."""
    return msgspec.json.encode(
        RealtimeTask(greet=connection_id, user_id=user_id, online=True if first else None)
    ).decode()


def drop_task(connection: Connection) -> str:
    """Queue message: drop this dead connection."""
    return msgspec.json.encode(RealtimeTask(drop=connection.id, user_id=connection.user_id)).decode()


def offline_task(user_id: UserId) -> str:
    """Queue message: announce the user offline, unless the user is online again."""
    return msgspec.json.encode(RealtimeTask(user_id=user_id, online=False)).decode()


def broadcast_task(event: Event, people: Sequence[UserId]) -> str:
    """Queue message: send an event to these users."""
    return msgspec.json.encode(RealtimeTask(user_ids=list(people), event=stored(event))).decode()
