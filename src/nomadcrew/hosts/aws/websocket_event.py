"""The Lambda host of sockets: events of API Gateway's WebSocket routes in, a status out; frames go their own way.

What the gateway cannot do that the other host does: choose the code a socket is closed with. A frame that is no
JSON is answered with an error frame, and a socket whose token has expired or whose session is over hears nothing
more, so that the client, which waits a minute for a frame, comes back with a fresh token.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from nomadcrew.core.errors import DomainError, Unauthenticated, Unavailable
from nomadcrew.core.events import REALTIME
from nomadcrew.core.ids import SessionId, UserId, parse_uuid
from nomadcrew.core.ports import Ports
from nomadcrew.core.realtime import Connection
from nomadcrew.hosts.aws.dead_connections import part
from nomadcrew.hosts.aws.entry import Context, Entry, Event, MakePorts, event_entry
from nomadcrew.web.sockets import Actions, NotJson, act, offered_token
from nomadcrew.wire.events import frame
from nomadcrew.wire.realtime_tasks import greet_task

log = logging.getLogger("nomadcrew.sockets")

NOT_JSON = frame("error", error="A frame has to be JSON.")


def socket_entry(actions: Actions, ports: MakePorts, declared: tuple[str, ...]) -> Entry:
    """What AWS calls for `$connect`, `$disconnect` and, whatever its route, for a frame."""

    async def answer(event: Event, _context: Context, ports: Ports) -> dict[str, Any]:
        asked = event["requestContext"]
        fields = {"connection_id": asked["connectionId"], "route": asked["routeKey"]}
        try:
            match asked["eventType"]:
                case "CONNECT":
                    return await _connect(event, ports)
                case "DISCONNECT":
                    await _disconnect(asked, ports)
                case _:
                    await _act(actions, event, ports)
        except DomainError as error:
            log.warning("a socket was not served", extra={"fields": fields}, exc_info=error)
            return {"statusCode": 503}
        log.info("socket", extra={"fields": fields})
        return {"statusCode": 200}

    return event_entry(answer, ports, declared)


class Unauthorized(Exception):
    """What API Gateway takes for a 401, by its text."""


def authorizer_entry(ports: MakePorts, declared: tuple[str, ...]) -> Entry:
    """What AWS asks whether a socket may be opened.

    A wrong token is an error of that one name, which has API Gateway answer 401; a policy that denies would be 403,
    after which clients do not refresh their token.
    """

    async def answer(event: Event, _context: Context, ports: Ports) -> dict[str, Any]:
        token, _ = _offered(event)
        try:
            claims = await ports.verifier.verify(token or "", now=ports.clock())
        except Unauthenticated as error:
            log.info("a socket was refused", extra={"fields": {"code": error.code}})
            raise Unauthorized("Unauthorized") from None
        context = {
            "userId": str(claims.user_id),
            "sessionId": "" if claims.session_id is None else str(claims.session_id),
            "expiresAt": str(int(claims.expires_at.timestamp())),
        }
        return _allow(str(claims.user_id), event, context)

    return event_entry(answer, ports, declared)


def _allow(who: str, event: Event, context: Mapping[str, str]) -> dict[str, Any]:
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]}
    return {
        "principalId": who,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": dict(context),
    }


async def _connect(event: Event, ports: Ports) -> dict[str, Any]:
    """Note the socket, and have it greeted: nothing can be sent to it before this has answered."""
    asked = event["requestContext"]
    known = asked["authorizer"]
    session_id = parse_uuid(known.get("sessionId", ""))
    connection = Connection(
        asked["connectionId"],
        UserId(UUID(known["userId"])),
        None if session_id is None else SessionId(session_id),
        datetime.fromtimestamp(int(known["expiresAt"]), UTC),
        ports.clock(),
    )
    first, _ = await asyncio.gather(_came(connection, ports), ports.sockets.add(connection))
    await ports.queue.send(REALTIME, greet_task(connection.id, connection.user_id, first=first))
    log.info("socket", extra={"fields": {"connection_id": connection.id, "route": asked["routeKey"]}})
    _, subprotocol = _offered(event)
    if subprotocol is None:
        return {"statusCode": 200}
    return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": subprotocol}}


async def _came(connection: Connection, ports: Ports) -> bool:
    """Note that somebody is there; nobody is kept out because that cannot be noted."""
    try:
        return await ports.presence.came(connection.user_id, connection.id, now=ports.clock())
    except Unavailable as error:
        log.warning("somebody came unnoticed", extra={"fields": {"reason": error.details}})
        return False


async def _disconnect(asked: Mapping[str, Any], ports: Ports) -> None:
    user_id = parse_uuid(asked.get("authorizer", {}).get("userId", ""))
    if user_id is None:
        await ports.sockets.forget(asked["connectionId"])
    else:
        await part(asked["connectionId"], UserId(user_id), ports)


async def _act(actions: Actions, event: Event, ports: Ports) -> None:
    asked = event["requestContext"]
    known = asked["authorizer"]
    if int(known["expiresAt"]) <= ports.clock().timestamp():
        return
    connection_id, me = asked["connectionId"], UserId(UUID(known["userId"]))
    try:
        answer = await act(actions, connection_id, me, event.get("body") or "", ports)
    except NotJson:
        answer = NOT_JSON
    if answer is not None:
        await ports.sockets.send(connection_id, answer)


def _offered(event: Event) -> tuple[str | None, str | None]:
    """The token that a connect offers and the subprotocol to echo."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    offered = [part.strip() for part in headers.get("sec-websocket-protocol", "").split(",") if part.strip()]
    query = event.get("queryStringParameters") or {}
    return offered_token(offered, query.get("token"))
