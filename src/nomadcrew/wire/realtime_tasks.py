"""Messages of the realtime queue."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from nomadcrew.core.events import Event
from nomadcrew.core.ids import UserId
from nomadcrew.core.realtime import Connection
from nomadcrew.wire.events import StoredEvent, stored


class Task(msgspec.Struct, rename="camel", omit_defaults=True):
    """What else than an event has sockets hear something.

    One was opened, one was found gone, all are to be kept alive, or an event is for some `people` whatever its
    audience. `online` is set where somebody's first socket was opened, or the last one closed, a moment ago.
    """

    greet: str = ""
    part: str = ""
    user_id: UUID | None = None
    keep_alive: bool = False
    online: bool | None = None
    people: list[UUID] = []
    told: StoredEvent | None = None


KEEP_ALIVE = msgspec.json.encode(Task(keep_alive=True)).decode()
task_in = msgspec.json.Decoder(Task).decode


def greet_task(connection_id: str, user_id: UserId, *, first: bool) -> str:
    """The message that has a socket greeted, and others told where it is the `first` of its owner."""
    return msgspec.json.encode(Task(greet=connection_id, user_id=user_id, online=True if first else None)).decode()


def part_task(connection: Connection) -> str:
    """The message that has a socket parted with that was found gone."""
    return msgspec.json.encode(Task(part=connection.id, user_id=connection.user_id)).decode()


def gone_task(user_id: UserId) -> str:
    """The message that has others told that somebody is gone, unless they are back."""
    return msgspec.json.encode(Task(user_id=user_id, online=False)).decode()


def people_task(event: Event, people: Sequence[UserId]) -> str:
    """The message that has an event reach these people."""
    return msgspec.json.encode(Task(people=list(people), told=stored(event))).decode()
