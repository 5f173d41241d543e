"""HTTP on the AWS host: turns API Gateway HTTP API events (payload 2.0) into requests, and replies into responses.

API Gateway matches the path, and an authorizer verifies the token: a function needs only the table of its own rows.
"""

import base64
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from nomadcrew.adapters.aws import telemetry
from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import NotFound, Unauthenticated
from nomadcrew.core.rate_limits import network_of
from nomadcrew.hosts.aws.entry import Entry, Event, MakePorts, entry
from nomadcrew.web.call import Reply, Request, parse_query, request_id_of
from nomadcrew.web.dispatch import Dispatcher
from nomadcrew.web.problems import MethodNotAllowed, TooLarge
from nomadcrew.web.routes import Route, Routes

# Lambda's limit is 6 MB per event, in which bytes are base64, a third longer.
MAX_BODY_BYTES = 4 * 2**20
Table = dict[str, Route]
_claims = msgspec.json.Decoder(Claims).decode
# The value of `Allow` at a path; None for an unknown path.
AllowOf = Callable[[str], str | None]


def lambda_entry(routes: Routes, ports: MakePorts, allow_of: AllowOf = lambda _: None) -> Entry:
    """A handler for AWS, with the ports that the routes declare. `allow_of` knows the paths of all functions."""
    table = table_of(routes)

    async def counted(event: Event, _context: object, dispatcher: Dispatcher) -> dict[str, Any]:
        response = await answer(table, dispatcher, event, allow_of)
        if response["statusCode"] >= 500:
            telemetry.count(telemetry.REQUESTS_5XX)
        if response["statusCode"] == 503:
            telemetry.count(telemetry.UNAVAILABLE)
        return response

    return entry(counted, lambda: Dispatcher(ports(routes.ports)))


def table_of(routes: Iterable[Route]) -> Table:
    """The rows by `routeKey`."""
    table: Table = {}
    for route in routes:
        table[route.key] = route
        if route.method == "GET":
            table[f"HEAD {route.path}"] = route
    return table


async def answer(
    table: Table, dispatcher: Dispatcher, event: dict[str, Any], allow_of: AllowOf = lambda _: None
) -> dict[str, Any]:
    """The response to one event; to HEAD without the body."""
    reply = await _reply(table, dispatcher, event, allow_of)
    if method_of(event) == "HEAD":
        reply = Reply(reply.status, headers=reply.headers)
    return response_of(reply)


async def _reply(table: Table, dispatcher: Dispatcher, event: dict[str, Any], allow_of: AllowOf) -> Reply:
    request = request_of(event)
    route = table.get(event.get("routeKey", ""))
    if route is None:
        return _without_row(allow_of(event.get("rawPath", "")), method_of(event), dispatcher, request.request_id)
    # PostgreSQL cannot store NUL, so no row has such an id. The machine host's router answers 404 too.
    if any("\x00" in value for value in request.params.values()):
        return dispatcher.refusal(NotFound("route", code="route_not_found"), request.request_id)
    max_bytes = min(route.max_body_bytes, MAX_BODY_BYTES)
    if len(request.body) > max_bytes:
        presign = f"POST {route.path}:presign"
        instead = presign if presign in table else ""
        return dispatcher.refusal(TooLarge(max_bytes, instead=instead), request.request_id)
    return await dispatcher.handle(route, request)


def _without_row(allow: str | None, method: str, dispatcher: Dispatcher, request_id: str) -> Reply:
    """The reply to a request of another method than those of its path, or to an unknown path."""
    if allow is None:
        return dispatcher.refusal(NotFound("route", code="route_not_found"), request_id)
    if method == "OPTIONS":
        return dispatcher.with_default_headers(Reply(204, headers={"allow": allow}), request_id)
    return dispatcher.refusal(MethodNotAllowed(allow), request_id)


def method_of(event: dict[str, Any]) -> str:
    method: str = event.get("requestContext", {}).get("http", {}).get("method", "")
    return method


def request_of(event: dict[str, Any]) -> Request:
    """The request in an event. The raw query is parsed, since API Gateway joins repeated keys."""
    context = event.get("requestContext", {})
    headers = {name.lower(): value for name, value in event.get("headers", {}).items()}
    if event.get("cookies"):
        headers["cookie"] = "; ".join(event["cookies"])
    body = event.get("body") or ""
    verdict = verdict_of(context.get("authorizer", {}).get("lambda") or {})
    return Request(
        params=event.get("pathParameters") or {},
        query=parse_query(event.get("rawQueryString", "")),
        headers=headers,
        body=base64.b64decode(body) if event.get("isBase64Encoded") else body.encode(),
        client_ip=network_of(context.get("http", {}).get("sourceIp", "")),
        request_id=request_id_of(headers, context.get("requestId", "")),
        claims=verdict if isinstance(verdict, Claims) else None,
        refusal=verdict if isinstance(verdict, Unauthenticated) else None,
    )


def verdict_of(context: dict[str, Any]) -> Claims | Unauthenticated | None:
    """The claims or the refusal that the authorizer passed on; None on rows that need no token."""
    if "claims" in context:
        return _claims(context["claims"])
    if "code" in context:
        return Unauthenticated(context["text"], code=context["code"])
    return None


def response_of(reply: Reply) -> dict[str, Any]:
    """A reply in API Gateway's format."""
    response: dict[str, Any] = {"statusCode": reply.status, "headers": dict(reply.headers)}
    try:
        response["body"] = reply.body.decode()
        response["isBase64Encoded"] = False
    except UnicodeDecodeError:
        response["body"] = base64.b64encode(reply.body).decode()
        response["isBase64Encoded"] = True
    return response
