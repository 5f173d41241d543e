"""Socket frames: a table from a frame's type to its coroutine, for both hosts."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct, field

from nomadcrew.core.errors import DomainError, TooMany, Unavailable
from nomadcrew.core.ids import TripId, UserId, parse_uuid
from nomadcrew.core.ports import Ports
from nomadcrew.core.sync.cursors import text_of
from nomadcrew.web.decode import read_json, refuse_nul, with_whole_characters, without_bom
from nomadcrew.wire.events import frame

log = logging.getLogger("nomadcrew.sockets")

SUBPROTOCOL = "nomadcrew.v1"
MAX_FRAME_BYTES = 32_768
MAX_REFERENCE = 128  # characters

CLOSE_BAD_JSON = 1007
CLOSE_FLOOD = 1008
CLOSE_TOO_MANY = 1008  # the user's oldest socket, when there are more than `MAX_SOCKETS`
CLOSE_RESTART = 1012  # the client reconnects with growing pauses and keeps its token
CLOSE_UNAUTHENTICATED = 4401  # the client refreshes its token and reconnects
CLOSE_TOO_SLOW = 4008  # the client reconnects as after a restart


class SocketCall(Struct, frozen=True):
    """One frame from a socket, with its fields in `payload`.

    The monolith's frames have `type` and `payload`. Frames of the AWS design have `action` and the fields beside
    it.
    """

    connection_id: str
    user_id: UserId
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
        return _reference(self.payload)


FrameHandler = Callable[[SocketCall], Awaitable[str | None]]


class FrameHandlers(Struct, frozen=True):
    rows: dict[str, FrameHandler] = field(default_factory=dict)

    def on(self, type_: str) -> Callable[[FrameHandler], FrameHandler]:
        """Declare the action of a frame type. It returns the answering frame, or None."""

        def declare(action: FrameHandler) -> FrameHandler:
            self.rows[type_] = action
            return action

        return declare


class NotJson(Exception):
    """A frame is not JSON. The machine host closes the socket with 1007."""


async def handle_frame(
    actions: FrameHandlers, connection_id: str, me: UserId, text: str | bytes, ports: Ports
) -> str | None:
    """Run the action of a frame. Returns the answering frame, None for an unknown type.

    Raises:
        NotJson: the frame is not JSON.
    """
    try:
        raw = text.encode() if isinstance(text, str) else text
        message = read_json(with_whole_characters(without_bom(raw)))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise NotJson from None
    if not isinstance(message, dict):
        return None
    type_ = message.get("type", message.get("action"))
    action = actions.rows.get(type_) if isinstance(type_, str) else None
    if action is None:
        return None
    call = SocketCall(connection_id, me, _payload(message), ports)
    try:
        refuse_nul(raw)
        return await action(call)
    except DomainError as error:
        if isinstance(error, Unavailable):
            log.warning("Frame failed: unavailable", extra={"fields": {"type": type_}}, exc_info=error)
        return frame("error", {"code": error.code, **_reference(call.payload)}, error=error.text)
    except Exception:
        # A bug in one action must not close the socket.
        log.exception("Frame failed", extra={"fields": {"type": type_}})
        text = "Something went wrong on our side."
        return frame("error", {"code": "internal", **_reference(call.payload)}, error=text)


def refused_frame(text: str | bytes) -> str:
    """The answer to a frame beyond the rate limit, which is not handled."""
    try:
        message = read_json(text.encode() if isinstance(text, str) else text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        message = None
    payload = _payload(message) if isinstance(message, dict) else {}
    return frame("error", {"code": TooMany.code, **_reference(payload)}, error=TooMany.text)


def _payload(message: dict[str, Any]) -> dict[str, Any]:
    payload = message.get("payload", message if "action" in message else None)
    return payload if isinstance(payload, dict) else {}


def _reference(payload: dict[str, Any]) -> dict[str, str]:
    """The ids in a frame by which the client matches the answer to it."""
    ids = {name: payload.get(name) for name in ("requestId", "messageId", "tripId")}
    return {name: text for name, text in ids.items() if isinstance(text, str) and len(text) <= MAX_REFERENCE}


async def greeting(me: UserId, ports: Ports) -> str:
    """The first frame of every socket: the user's trips, and the point from which to synchronise later."""
    cursor = await ports.sync_points.present(ports.clock())
    trips = [str(trip_id) for trip_id in await ports.members.list_active_trips(me)]
    fields = {"userId": str(me), "tripCount": len(trips), "trips": trips, "cursor": text_of(cursor)}
    return frame("connected", fields)


def offered_token(subprotocols: list[str], query_token: str | None) -> tuple[str | None, str | None]:
    """The token of a new socket, and the subprotocol to echo.

    Clients send the token in the query, as the only subprotocol, or as the subprotocol after `nomadcrew.v1`.
    """
    if subprotocols[:1] == [SUBPROTOCOL]:
        return (subprotocols[1] if len(subprotocols) > 1 else query_token), SUBPROTOCOL
    if query_token:
        return query_token, subprotocols[0] if subprotocols else None
    return (subprotocols[0], subprotocols[0]) if subprotocols else (None, None)
