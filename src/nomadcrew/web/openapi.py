"""The OpenAPI 3.1 document, out of the route table and the types of its bodies."""

import re
import types
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Union, get_args, get_origin

import msgspec

from nomadcrew import __version__
from nomadcrew.core.ports import Site
from nomadcrew.web.call import Reply
from nomadcrew.web.dispatch import MAX_KEY_CHARS
from nomadcrew.web.links import links_from
from nomadcrew.web.problems import Problem
from nomadcrew.web.routes import Auth, Param, Replay, Route

Object = dict[str, Any]

_REF = "#/components/schemas/{name}"
_PATH_PARAMETER = re.compile(r"{(\w+)}")
_FORMATS = frozenset({"date", "date-time", "uuid", "email", "uri"})
_REQUEST_ID, _RETRY_AFTER = "X-Request-ID", "Retry-After"
_LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_REFUSAL_HEADERS = {429: (_RETRY_AFTER, *_LIMIT_HEADERS), 503: (_RETRY_AFTER,)}
_ALWAYS = (429, 500, 503)
_PAGE: Object = {"text/html": {"schema": {"type": "string"}}}
_FORM: Object = {"schema": {"type": "object", "additionalProperties": {"type": "string"}}}
_BYTES: Object = {"schema": {"type": "string", "format": "binary"}}
_DESCRIPTION = (
    "One backend for people travelling together. Changes are pushed live over the WebSocket at `/v1/ws`. "
    "Every refusal has the same body; `code` is for programs and never changes its meaning."
)


def document(routes: Iterable[Route], *, site: Site) -> Object:
    """The document of the rows given, as plain data ready for encoding.

    Raises:
        ValueError: two handlers have the same name, which is their operation's id.
    """
    table = {route.key: route for route in routes}
    names = [route.handler.__name__ for route in table.values()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"these operation ids are used twice: {', '.join(twice)}")
    schemas = _Schemas(table.values())
    paths: dict[str, Object] = {}
    for route in table.values():
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, table, schemas)
    refused = {
        _refusal_name(route, status): _refused(status, schemas, is_page=route.html)
        for route in table.values()
        for status in refusals_of(route)
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "NomadCrew",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": site.public_url}],
        "tags": [{"name": name} for name in dict.fromkeys(route.function for route in table.values())],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "headers": _headers(),
            "responses": dict(sorted(refused.items())),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def refusals_of(route: Route) -> tuple[int, ...]:
    """Every status above 299 that a row may answer, in order."""
    statuses = {*_ALWAYS, *route.refusals}
    if route.body is not None or route.raw or _takes_form(route):
        statuses |= {400, 413}
    if takes_idempotency_key(route):
        statuses |= {400, 422}
    if route.auth is not Auth.PUBLIC:
        statuses.add(401)
    if route.gate is not None:
        statuses |= {403, 404}
    if "{" in route.path:
        # What cannot be a parameter, such as broken escapes, makes the path one that is not in the table.
        statuses.add(404)
    return tuple(sorted(statuses))


def takes_idempotency_key(route: Route) -> bool:
    return route.mutates and route.replay is not Replay.NEVER


def _takes_form(route: Route) -> bool:
    """Pages post forms, whose fields are the pages' own affair."""
    return route.html and route.mutates


class _Schemas:
    """The schemas of every type in the table, each with a reference to it."""

    def __init__(self, routes: Iterable[Route]) -> None:
        wanted: list[Any] = [Problem]
        for route in routes:
            wanted += [route.body, reply_type(route), *(type_ for _, type_ in route.also)]
        # Types compare by what they mean, so that `list[X]` written twice is one.
        unique = [type_ for place, type_ in enumerate(wanted) if type_ is not None and type_ not in wanted[:place]]
        references, self.components = msgspec.json.schema_components(unique, ref_template=_REF)
        self._references = list(zip(unique, references, strict=True))

    def of(self, type_: Any) -> Object:
        return next(reference for known, reference in self._references if known == type_)


def reply_type(route: Route) -> Any:
    """The type of a row's body on success; None where it has none, or none with a schema.

    A handler annotated `X | Reply` answers an X unless it takes another status into its own hands.
    """
    annotation = route.reply
    if get_origin(annotation) in (Union, types.UnionType):
        left = [option for option in get_args(annotation) if option is not Reply]
        annotation = Union[tuple(left)]  # noqa: UP007 — of a length known only now
    return None if annotation in (None, type(None), Reply) else annotation


def _operation(route: Route, table: dict[str, Route], schemas: _Schemas) -> Object:
    operation: Object = {
        "operationId": route.handler.__name__,
        "tags": [route.function],
        "summary": route.summary,
        "description": route.description,
        "parameters": _parameters(route),
        "responses": _successes(route, table, schemas),
        "security": [] if route.auth is Auth.PUBLIC else [{"bearer": []}],
    }
    for status in refusals_of(route):
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{_refusal_name(route, status)}"}
    if _takes_form(route):
        operation["requestBody"] = {"required": True, "content": {"application/x-www-form-urlencoded": _FORM}}
    elif route.raw:
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": _BYTES}}
    elif route.body is not None:
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": {"schema": schemas.of(route.body)}},
        }
    return {name: value for name, value in operation.items() if value or name == "security"}


def _parameters(route: Route) -> list[Object]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name)}
        for name in _PATH_PARAMETER.findall(route.path)
    ]
    parameters += [_query_parameter(param) for param in route.query]
    if takes_idempotency_key(route):
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Any text of one's own. The same request sent again with it changes nothing more "
                "and gets the same reply, for 24 hours.",
                "schema": {
                    "type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": "^[!-~]+$",
                },
            }
        )  # fmt: skip
    return parameters


def _path_schema(name: str) -> Object:
    """Ids are UUIDs; what a link in a mail carries is signed text."""
    return {"type": "string", "minLength": 1} if "token" in name.lower() else {"type": "string", "format": "uuid"}


def _query_parameter(param: Param) -> Object:
    schema = {"type": "string", "format": param.type} if param.type in _FORMATS else {"type": param.type}
    return {
        "name": param.name,
        "in": "query",
        "required": param.required,
        "description": param.description,
        "schema": schema,
    }


def _successes(route: Route, table: dict[str, Route], schemas: _Schemas) -> Object:
    usual = _success(route.status, schemas, reply_type(route), is_page=route.html)
    links = links_from(route, table)
    if links:
        usual["links"] = links
    return {str(route.status): usual} | {
        str(status): _success(status, schemas, type_) for status, type_ in route.also
    }


def _success(status: int, schemas: _Schemas, type_: Any, *, is_page: bool = False) -> Object:
    names = [_REQUEST_ID, *_LIMIT_HEADERS]
    response: Object = {"description": HTTPStatus(status).phrase}
    if 300 <= status < 400:
        names.append("Location")
    elif is_page:
        response["content"] = _PAGE
    elif type_ is not None and status != HTTPStatus.NO_CONTENT:
        response["content"] = {"application/json": {"schema": schemas.of(type_)}}
    return response | {"headers": _header_references(names)}


def _refusal_name(route: Route, status: int) -> str:
    return f"Refused{status}OrPage" if route.html else f"Refused{status}"


def _refused(status: int, schemas: _Schemas, *, is_page: bool) -> Object:
    """The problem; a page says what it can in words, and what happens before it is asked is the problem still."""
    names = (_REQUEST_ID, *_REFUSAL_HEADERS.get(status, ()))
    content: Object = {"application/json": {"schema": schemas.of(Problem)}}
    if is_page:
        content |= _PAGE
    return {"description": HTTPStatus(status).phrase, "headers": _header_references(names), "content": content}


def _header_references(names: Iterable[str]) -> Object:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _headers() -> Object:
    def header(description: str, type_: str) -> Object:
        return {"description": description, "schema": {"type": type_}}

    return {
        _REQUEST_ID: header("Names this request in the logs; the caller's own where it sent a fit one.", "string"),
        "Location": header("Where to go instead.", "string"),
        _RETRY_AFTER: header("Seconds after which it is worth trying again.", "integer"),
        "X-RateLimit-Limit": header("Requests that fit into the window.", "integer"),
        "X-RateLimit-Remaining": header("Requests left in it.", "integer"),
        "X-RateLimit-Reset": header("When the whole window is free again, in Unix seconds.", "integer"),
    }
