"""Builds the OpenAPI 3.1 document from the route table and the types of its bodies."""

import re
import types
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Union, get_args, get_origin

import msgspec

from nomadcrew import __version__
from nomadcrew.core.ports import Site
from nomadcrew.web.call import Reply
from nomadcrew.web.dispatch import MAX_KEY_CHARS
from nomadcrew.web.links import links_from
from nomadcrew.web.problems import Problem
from nomadcrew.web.routes import Auth, Param, Route

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
    "The backend for groups who travel together. Changes are pushed over the WebSocket at `/v1/ws`. "
    "Every refusal has the same body; `code` is for programs and never changes its meaning."
)


class Examples(msgspec.Struct, frozen=True):
    """JSON of requests that succeed and of their replies by row and status, and of refusals by status and code."""

    bodies: dict[str, Any] = {}
    replies: dict[str, dict[str, Any]] = {}
    refusals: dict[str, dict[str, Any]] = {}


NO_EXAMPLES = Examples()


def document(routes: Iterable[Route], *, site: Site, examples: Examples = NO_EXAMPLES) -> Object:
    """The document of `routes`, as plain data.

    Raises:
        ValueError: two handlers have the same name, which is the operation id.
    """
    table = {route.key: route for route in routes}
    names = [route.handler.__name__ for route in table.values()]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ValueError(f"these operation ids are used twice: {', '.join(duplicates)}")
    schemas = _Schemas(table.values())
    paths: dict[str, Object] = {}
    for route in table.values():
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, table, schemas, examples)
    refusals = {
        _refusal_name(route, status): _refusal(status, schemas, examples, is_page=route.html)
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
            "responses": dict(sorted(refusals.items())),
            "securitySchemes": _SCHEMES,
        },
    }


_SCHEMES: Object = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key, `nck_…`, as `Bearer` token."},
}


def refusals_of(route: Route) -> tuple[int, ...]:
    """The statuses above 299 that a row may answer, in ascending order."""
    statuses = {*_ALWAYS, *route.refusals}
    if route.body is not None or route.raw or route.form is not None or _takes_form(route):
        statuses |= {400, 413, 415}
    if takes_idempotency_key(route):
        statuses |= {400, 422}
    if route.versioned and route.mutates:
        statuses.add(409)
    if route.auth is not Auth.PUBLIC:
        statuses |= {401, 403}  # API keys are refused or limited
    if route.gate is not None:
        statuses.add(404)
    if "{" in route.path:
        # A malformed parameter, such as a broken escape, makes the path unknown.
        statuses.add(404)
    return tuple(sorted(statuses))


def takes_idempotency_key(route: Route) -> bool:
    return route.mutates and route.idempotency.takes_key


def _takes_form(route: Route) -> bool:
    """Pages post forms; the document does not describe their fields."""
    return route.html and route.mutates


class _Schemas:
    """The schemas of every type in the table, and a reference to each."""

    def __init__(self, routes: Iterable[Route]) -> None:
        types_: list[Any] = [Problem]
        for route in routes:
            types_ += [route.body, reply_type(route), *(type_ for _, type_ in route.also)]
        # Compared with `==`, so that `list[X]` written twice counts once.
        unique = [type_ for index, type_ in enumerate(types_) if type_ is not None and type_ not in types_[:index]]
        references, self.components = msgspec.json.schema_components(unique, ref_template=_REF)
        self._references = list(zip(unique, references, strict=True))

    def of(self, type_: Any) -> Object:
        return next(reference for known, reference in self._references if known == type_)


def reply_type(route: Route) -> Any:
    """The type of a row's body on success; None without a body or a schema.

    A handler annotated `X | Reply` answers an X, or a `Reply` with another status.
    """
    annotation = route.reply
    if get_origin(annotation) in (Union, types.UnionType):
        options = [option for option in get_args(annotation) if option is not Reply]
        annotation = Union[tuple(options)]  # noqa: UP007 — the number of options varies
    return None if annotation in (None, type(None), Reply) else annotation


def _operation(route: Route, table: dict[str, Route], schemas: _Schemas, examples: Examples) -> Object:
    operation: Object = {
        "operationId": route.handler.__name__,
        "tags": [route.function],
        "summary": route.summary,
        "description": route.description,
        "parameters": _parameters(route),
        "responses": _successes(route, table, schemas, examples),
        "security": _security(route),
    }
    for status in refusals_of(route):
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{_refusal_name(route, status)}"}
    if _takes_form(route):
        operation["requestBody"] = {"required": True, "content": {"application/x-www-form-urlencoded": _FORM}}
    elif route.form is not None:
        operation["requestBody"] = {"required": True, "content": dict(route.form.content)}
    elif route.raw:
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": _BYTES}}
    elif route.body is not None:
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": _json(schemas.of(route.body), examples.bodies, route.key)},
        }
    return {name: value for name, value in operation.items() if value or name == "security"}


def _security(route: Route) -> list[Object]:
    """Either of these credentials is enough."""
    if route.auth is Auth.PUBLIC:
        return []
    return [{"bearer": []}, {"apiKey": []}] if route.takes_keys else [{"bearer": []}]


def _json(schema: Object, examples: Mapping[str, Any], key: str) -> Object:
    """A media type, with the example of `key` if there is one."""
    return {"schema": schema} | ({"example": examples[key]} if key in examples else {})


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
                "description": "A unique text chosen by the client. Repeating the request with the same key within "
                "24 hours changes nothing and returns the stored reply.",
                "schema": {
                    "type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": "^[!-~]+$",
                },
            }
        )  # fmt: skip
    if route.versioned and route.mutates:
        parameters.append(
            {
                "name": "If-Match",
                "in": "header",
                "required": False,
                "description": "The ETag of the version that the change is based on. If it would undo another "
                "change, it is refused with 409 `version_conflict` and both versions.",
                "schema": {"type": "string"},
            }
        )
    return parameters


def _path_schema(name: str) -> Object:
    """A UUID for ids; a text for the tokens of links."""
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


def _successes(route: Route, table: dict[str, Route], schemas: _Schemas, examples: Examples) -> Object:
    replies = examples.replies.get(route.key, {})
    main = _success(route.status, schemas, reply_type(route), replies, is_page=route.html)
    if route.versioned:
        main["headers"] |= _header_references(["ETag"])
    links = links_from(route, table)
    if links:
        main["links"] = links
    return {str(route.status): main} | {
        str(status): _success(status, schemas, type_, replies) for status, type_ in route.also
    }


def _success(
    status: int, schemas: _Schemas, type_: Any, replies: Mapping[str, Any], *, is_page: bool = False
) -> Object:
    names = [_REQUEST_ID, *_LIMIT_HEADERS]
    response: Object = {"description": HTTPStatus(status).phrase}
    if 300 <= status < 400:
        names.append("Location")
    elif is_page:
        response["content"] = _PAGE
    elif type_ is not None and status != HTTPStatus.NO_CONTENT:
        response["content"] = {"application/json": _json(schemas.of(type_), replies, str(status))}
    return response | {"headers": _header_references(names)}


def _refusal_name(route: Route, status: int) -> str:
    return f"Refused{status}OrPage" if route.html else f"Refused{status}"


def _refusal(status: int, schemas: _Schemas, examples: Examples, *, is_page: bool) -> Object:
    """A problem. A page refuses with HTML, and with a problem if the dispatcher refuses before its handler runs."""
    names = (_REQUEST_ID, *_REFUSAL_HEADERS.get(status, ()))
    content: Object = {"application/json": {"schema": schemas.of(Problem)}}
    bodies = examples.refusals.get(str(status), {})
    if bodies:
        content["application/json"]["examples"] = {code: {"value": body} for code, body in bodies.items()}
    if is_page:
        content |= _PAGE
    return {"description": HTTPStatus(status).phrase, "headers": _header_references(names), "content": content}


def _header_references(names: Iterable[str]) -> Object:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _headers() -> Object:
    def header(description: str, type_: str) -> Object:
        return {"description": description, "schema": {"type": type_}}

    return {
        _REQUEST_ID: header("The request's id in the logs: the client's, if valid, else a new one.", "string"),
        "ETag": header("The version of the entity.", "string"),
        "Location": header("The URL to follow.", "string"),
        _RETRY_AFTER: header("Seconds to wait before the next attempt.", "integer"),
        "X-RateLimit-Limit": header("Requests allowed per window.", "integer"),
        "X-RateLimit-Remaining": header("Requests left in the window.", "integer"),
        "X-RateLimit-Reset": header(
            "Unix time, in seconds, at which the full limit is available again.", "integer"
        ),
    }
