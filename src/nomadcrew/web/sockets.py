"""Socket actions: a table from a frame's type to a coroutine, the same on both hosts."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from nomadcrew.core.errors import DomainError, Unavailable
from nomadcrew.core.ids import TripId, UserId, parse_uuid
from nomadcrew.core.ports import Ports
from nomadcrew.web.decode import refuse_nul, with_whole_characters
from nomadcrew.wire.events import frame

log = logging.getLogger("nomadcrew.sockets")

SUBPROTOCOL = "nomadcrew.v1"
MAX_FRAME_BYTES = 32_768
MAX_REFERENCE = 128  # characters

CLOSE_BAD_JSON = 1007
CLOSE_RESTART = 1012  # the client comes back with growing pauses, and does not sign in anew for it
CLOSE_UNAUTHENTICATED = 4401  # the client refreshes its token and comes back
CLOSE_TOO_SLOW = 4008  # as after a restart


@dataclass(frozen=True, slots=True)
class SocketCall:
    """One frame from a socket: `payload` is what it carries, whichever dialect it is in.

    The monolith's frames have a type and a payload; those of the AWS design an action, and what it needs beside it.
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
        """What tells the client which of its frames an answer is to, as far as it said."""
        given = {name: self.payload.get(name) for name in ("requestId", "messageId", "tripId")}
        return {name: text for name, text in given.items() if isinstance(text, str) and len(text) <= MAX_REFERENCE}


Action = Callable[[SocketCall], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Actions:
    rows: dict[str, Action] = field(default_factory=dict)

    def on(self, type_: str) -> Callable[[Action], Action]:
        """Declare what a frame of a type does; it returns the frame that answers, or None."""

        def declare(action: Action) -> Action:
            self.rows[type_] = action
            return action

        return declare


class NotJson(Exception):
    """A frame is not JSON; the socket is closed with 1007."""


async def act(actions: Actions, connection_id: str, me: UserId, text: str | bytes, ports: Ports) -> str | None:
    """Run what a frame asks for; returns the answering frame, None for types nobody knows.

    Raises:
        NotJson: the frame is no JSON.
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
            log.warning("a frame was not served", extra={"fields": {"type": type_}}, exc_info=error)
        return frame("error", {"code": error.code, **call.reference}, error=error.text)
    except Exception:
        # The socket may be busy with much else, and stays.
        log.exception("a frame failed", extra={"fields": {"type": type_}})
        return frame("error", {"code": "internal", **call.reference}, error="Something went wrong here.")


async def greeting(me: UserId, ports: Ports) -> str:
    """The frame every socket gets first."""
    trips = [str(trip_id) for trip_id in await ports.members.active(me)]
    return frame("connected", {"userId": str(me), "tripCount": len(trips), "trips": trips})


def offered_token(subprotocols: list[str], query_token: str | None) -> tuple[str | None, str | None]:
    """The token a socket offers and the subprotocol to echo.

    A token comes in the query, as the only subprotocol, or after `nomadcrew.v1`.
    """
    if subprotocols[:1] == [SUBPROTOCOL]:
        return (subprotocols[1] if len(subprotocols) > 1 else query_token), SUBPROTOCOL
    if query_token:
        return query_token, subprotocols[0] if subprotocols else None
    return (subprotocols[0], subprotocols[0]) if subprotocols else (None, None)
