"""Socket frames: a table from a frame's type to its coroutine, for both hosts. Tasks of the realtime queue."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from nomadcrew.core.errors import DomainError, Unavailable
from nomadcrew.core.events import REALTIME, Event
from nomadcrew.core.ids import TripId, UserId, parse_uuid
from nomadcrew.core.ports import Ports
from nomadcrew.core.presence.model import GRACE_S
from nomadcrew.core.realtime import Connection
from nomadcrew.wire.decode import refuse_nul, with_whole_characters
from nomadcrew.wire.events import PONG, StoredEvent, frame, stored

log = logging.getLogger("nomadcrew.sockets")

SUBPROTOCOL = "nomadcrew.v1"
MAX_FRAME_BYTES = 32_768
MAX_REFERENCE = 128  # characters
MOST_PARTED = 200  # dead connections per keep-alive round; the next round finds the rest

CLOSE_BAD_JSON = 1007
CLOSE_RESTART = 1012  # the client reconnects with growing pauses and keeps its token
CLOSE_UNAUTHENTICATED = 4401  # the client refreshes its token and reconnects
CLOSE_TOO_SLOW = 4008  # the client reconnects as after a restart


@dataclass(frozen=True, slots=True)
class SocketCall:
    """One frame from a socket, with its fields in `payload`.

    The monolith's frames have `type` and `payload`. Frames of the AWS design have `action` and the fields beside
    it.
    """

    connection_id: str
    me: UserId
    payload: dict[str, Any]
    ports: Ports

    @property
    def trip_id(self) -> TripId | None:
        text = self.payload.get("tripId")
        value = parse_uuid(text) if isinstance(text, str) else None
        return None if value is None else TripId(value)

    @property
    def reference(self) -> dict[str, str]:
        """The ids in the frame by which the client matches the answer to it."""
        ids = {name: self.payload.get(name) for name in ("requestId", "messageId", "tripId")}
        return {name: text for name, text in ids.items() if isinstance(text, str) and len(text) <= MAX_REFERENCE}


Action = Callable[[SocketCall], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Actions:
    rows: dict[str, Action] = field(default_factory=dict)

    def on(self, type_: str) -> Callable[[Action], Action]:
        """Declare the action of a frame type. It returns the answering frame, or None."""

        def declare(action: Action) -> Action:
            self.rows[type_] = action
            return action

        return declare


class NotJson(Exception):
    """A frame is not JSON. The machine host closes the socket with 1007."""


async def act(actions: Actions, connection_id: str, me: UserId, text: str | bytes, ports: Ports) -> str | None:
    """Run the action of a frame. Returns the answering frame, None for an unknown type.

    Raises:
        NotJson: the frame is not JSON.
    """
    try:
        raw = text.encode() if isinstance(text, str) else text
        message = msgspec.json.decode(with_whole_characters(raw))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise NotJson from None
    if not isinstance(message, dict):
        return None
    type_ = message.get("type", message.get("action"))
    action = actions.rows.get(type_) if isinstance(type_, str) else None
    if action is None:
        return None
    payload = message.get("payload", message if "action" in message else None)
    call = SocketCall(connection_id, me, payload if isinstance(payload, dict) else {}, ports)
    try:
        refuse_nul(raw)
        return await action(call)
    except DomainError as error:
        if isinstance(error, Unavailable):
            log.warning("Frame failed: unavailable", extra={"fields": {"type": type_}}, exc_info=error)
        return frame("error", {"code": error.code, **call.reference}, error=error.text)
    except Exception:
        # A bug in one action must not close the socket.
        log.exception("Frame failed", extra={"fields": {"type": type_}})
        return frame("error", {"code": "internal", **call.reference}, error="Something went wrong on our side.")


async def greeting(me: UserId, ports: Ports) -> str:
    """The first frame of every socket: the user's trips."""
    trips = [str(trip_id) for trip_id in await ports.members.active(me)]
    return frame("connected", {"userId": str(me), "tripCount": len(trips), "trips": trips})


async def part(connection_id: str, user_id: UserId, ports: Ports) -> None:
    """Drop a dead connection; if it was the user's last, announce the user offline.

    Announce first: after a crash in between, the next keep-alive finds the connection again.
    """
    if await ports.presence.left(user_id, connection_id, now=ports.clock()):
        await ports.queue.send(REALTIME, gone_task(user_id), delay_s=GRACE_S)
    await ports.sockets.forget(connection_id)


async def keep_all_alive(ports: Ports) -> None:
    """Send a frame to every socket and queue dead ones to be dropped: the gateway may not report disconnects."""
    dead = await ports.sockets.deliver_to_all(PONG, now=ports.clock())
    for connection in dead[:MOST_PARTED]:
        await ports.queue.send(REALTIME, part_task(connection))


class Task(msgspec.Struct, rename="camel", omit_defaults=True):
    """A message of the realtime queue that is not an event.

    `greet`: greet this new connection. `part`: drop this dead connection. `keep_alive`: send a frame to every
    socket. `told`: send this event to the sockets of `people`, whatever its audience. `online`: announce `user_id`
    as online or offline, unless that has changed meanwhile.
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
    """Queue message: greet this connection; if it is the user's `first`, announce the user online."""
    return msgspec.json.encode(Task(greet=connection_id, user_id=user_id, online=True if first else None)).decode()


def part_task(connection: Connection) -> str:
    """Queue message: drop this dead connection."""
    return msgspec.json.encode(Task(part=connection.id, user_id=connection.user_id)).decode()


def gone_task(user_id: UserId) -> str:
    """Queue message: announce the user offline, unless the user is online again."""
    return msgspec.json.encode(Task(user_id=user_id, online=False)).decode()


def people_task(event: Event, people: Sequence[UserId]) -> str:
    """Queue message: send an event to these users."""
    return msgspec.json.encode(Task(people=list(people), told=stored(event))).decode()


def offered_token(subprotocols: list[str], query_token: str | None) -> tuple[str | None, str | None]:
    """The token of a new socket, and the subprotocol to echo.

    Clients send the token in the query, as the only subprotocol, or as the subprotocol after `nomadcrew.v1`.
    """
    if subprotocols[:1] == [SUBPROTOCOL]:
        return (subprotocols[1] if len(subprotocols) > 1 else query_token), SUBPROTOCOL
    if query_token:
        return query_token, subprotocols[0] if subprotocols else None
    return (subprotocols[0], subprotocols[0]) if subprotocols else (None, None)
