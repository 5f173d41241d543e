"""Sockets on the AWS host: handles events of API Gateway's WebSocket routes and returns a status.

Unlike the machine host, the gateway cannot choose a close code. Malformed JSON is answered with an error frame. A
socket whose token has expired or whose session has ended receives no more frames; its client reconnects with a
fresh token after a silent minute.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from nomadcrew.core.auth.open_sessions import require_open
from nomadcrew.core.errors import DomainError, Unauthenticated, Unavailable
from nomadcrew.core.events import REALTIME
from nomadcrew.core.ids import SessionId, UserId, parse_uuid
from nomadcrew.core.ports import Ports
from nomadcrew.core.realtime import Connection
from nomadcrew.hosts.aws.dead_connections import drop_connection
from nomadcrew.hosts.aws.entry import Context, Entry, Event, MakePorts, event_entry
from nomadcrew.web.sockets import FrameHandlers, NotJson, handle_frame, offered_token
from nomadcrew.wire.events import frame
from nomadcrew.wire.realtime_tasks import greet_task

log = logging.getLogger("nomadcrew.sockets")

NOT_JSON = frame("error", error="A frame must be JSON.")


def socket_entry(actions: FrameHandlers, ports: MakePorts, declared: tuple[str, ...]) -> Entry:
    """A handler that AWS calls for `$connect`, `$disconnect` and every frame."""

    async def answer(event: Event, _context: Context, ports: Ports) -> dict[str, Any]:
        request = event["requestContext"]
        fields = {"connection_id": request["connectionId"], "route": request["routeKey"]}
        try:
            match request["eventType"]:
                case "CONNECT":
                    return await _connect(event, ports)
                case "DISCONNECT":
                    await _disconnect(request, ports)
                case _:
                    await _act(actions, event, ports)
        except DomainError as error:
            log.warning("Socket event failed", extra={"fields": fields}, exc_info=error)
            return {"statusCode": 503}
        log.info("Socket event handled", extra={"fields": fields})
        return {"statusCode": 200}

    return event_entry(answer, ports, declared)


class Unauthorized(Exception):
    """API Gateway answers 401 to an error with the text `Unauthorized`."""


def authorizer_entry(ports: MakePorts, declared: tuple[str, ...]) -> Entry:
    """A handler that AWS calls before it opens a socket.

    A wrong token raises `Unauthorized`, so that API Gateway answers 401. A denying policy would answer 403, and
    clients refresh their token only after a 401.
    """

    async def answer(event: Event, _context: Context, ports: Ports) -> dict[str, Any]:
        token, _ = _offered(event)
        try:
            claims = await ports.verifier.verify(token or "", now=ports.clock())
            await require_open(claims, ports.open_sessions)
        except Unauthenticated as error:
            log.info("Socket refused", extra={"fields": {"code": error.code}})
            raise Unauthorized("Unauthorized") from None
        context = {
            "userId": str(claims.user_id),
            "sessionId": "" if claims.session_id is None else str(claims.session_id),
            "expiresAt": str(int(claims.expires_at.timestamp())),
        }
        return _allow(str(claims.user_id), event, context)

    return event_entry(answer, ports, declared)


def _allow(user_id: str, event: Event, context: Mapping[str, str]) -> dict[str, Any]:
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]}
    return {
        "principalId": user_id,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": dict(context),
    }


async def _connect(event: Event, ports: Ports) -> dict[str, Any]:
    """Store the connection and queue its greeting: the gateway can send to it only after this answer."""
    request = event["requestContext"]
    authorizer = request["authorizer"]
    session_id = parse_uuid(authorizer.get("sessionId", ""))
    connection = Connection(
        request["connectionId"],
        UserId(UUID(authorizer["userId"])),
        None if session_id is None else SessionId(session_id),
        datetime.fromtimestamp(int(authorizer["expiresAt"]), UTC),
        ports.clock(),
    )
    is_first, _ = await asyncio.gather(_record_presence(connection, ports), ports.sockets.add(connection))
    await ports.queue.send(REALTIME, greet_task(connection.id, connection.user_id, first=is_first))
    log.info(
        "Socket event handled", extra={"fields": {"connection_id": connection.id, "route": request["routeKey"]}}
    )
    _, subprotocol = _offered(event)
    if subprotocol is None:
        return {"statusCode": 200}
    return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": subprotocol}}


async def _record_presence(connection: Connection, ports: Ports) -> bool:
    """Record that the user is online; True if this is their first socket. An outage does not refuse the socket."""
    try:
        return await ports.presence.connected(connection.user_id, connection.id, now=ports.clock())
    except Unavailable as error:
        log.warning("Presence not recorded", extra={"fields": {"reason": error.details}})
        return False


async def _disconnect(request: Mapping[str, Any], ports: Ports) -> None:
    user_id = parse_uuid(request.get("authorizer", {}).get("userId", ""))
    if user_id is None:
        await ports.sockets.forget(request["connectionId"])
    else:
        await drop_connection(request["connectionId"], UserId(user_id), ports)


async def _act(actions: FrameHandlers, event: Event, ports: Ports) -> None:
    request = event["requestContext"]
    authorizer = request["authorizer"]
    if int(authorizer["expiresAt"]) <= ports.clock().timestamp():
        return
    connection_id, user_id = request["connectionId"], UserId(UUID(authorizer["userId"]))
    session_id = parse_uuid(authorizer.get("sessionId", ""))
    if session_id is not None and not await ports.open_sessions.is_open(user_id, SessionId(session_id)):
        return
    try:
        answer = await handle_frame(actions, connection_id, user_id, event.get("body") or "", ports)
    except NotJson:
        answer = NOT_JSON
    if answer is not None:
        await ports.sockets.send(connection_id, answer)


def _offered(event: Event) -> tuple[str | None, str | None]:
    """The token of a connect request, and the subprotocol to echo."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    offered = [part.strip() for part in headers.get("sec-websocket-protocol", "").split(",") if part.strip()]
    query = event.get("queryStringParameters") or {}
    return offered_token(offered, query.get("token"))
