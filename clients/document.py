"""The API as the generators need it, read from the OpenAPI document."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any]

KEY_HEADER, VERSION_HEADER = "Idempotency-Key", "If-Match"
# A link for browsers: it redirects to the app.
_NOT_FOR_PROGRAMS = frozenset({"join_by_link"})
_DOTTED = re.compile(r"nomadcrew\.(?:api|core)\.(\w+)\.(?:\w+\.)*(\w+)")


@dataclass(frozen=True)
class Property:
    wire: str
    schema: Schema
    is_required: bool


@dataclass(frozen=True)
class Model:
    """A body of properties, or the texts of an enumeration."""

    name: str
    description: str
    properties: tuple[Property, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parameter:
    wire: str
    schema: Schema
    is_required: bool
    description: str


@dataclass(frozen=True)
class Operation:
    """One method of a client.

    `replies` has a schema per status of success: None without a body, {} for the bytes of a file, to which the
    server may redirect. `parts` are the fields of a form; `content_types` are those of a body of bytes.
    """

    name: str
    method: str
    path: str
    path_parameters: tuple[str, ...]
    query: tuple[Parameter, ...]
    replies: Mapping[int, Schema | None]
    summary: str
    description: str
    is_public: bool
    takes_key: bool
    takes_version: bool
    body: Schema | None = None
    is_body_required: bool = True
    parts: Mapping[str, Schema] = field(default_factory=dict)
    content_types: tuple[str, ...] = ()


def models_of(document: Schema) -> list[Model]:
    return [_model(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]


def operations_of(document: Schema) -> list[Operation]:
    """The operations for programs, without pages of forms."""
    found = [
        _operation(method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return [operation for operation in found if operation is not None]


def name_of(component: str) -> str:
    """The name of a schema; of two with one name, each has the feature before it."""
    dotted = _DOTTED.fullmatch(component)
    return dotted[1].title() + dotted[2] if dotted else component


def referred(schema: Schema) -> str | None:
    """The name of the model that a schema refers to."""
    return name_of(schema["$ref"].rpartition("/")[2]) if "$ref" in schema else None


def _model(component: str, schema: Schema) -> Model:
    required = set(schema.get("required", ()))
    properties = tuple(
        Property(wire, property_, wire in required) for wire, property_ in schema.get("properties", {}).items()
    )
    return Model(
        name_of(component), _flat(schema.get("description", "")), properties, tuple(schema.get("enum", ()))
    )


def _operation(method: str, path: str, operation: Schema) -> Operation | None:
    content: Schema = operation.get("requestBody", {}).get("content", {})
    replies = _replies(operation["responses"])
    if operation["operationId"] in _NOT_FOR_PROGRAMS or replies is None:
        return None
    parameters = operation.get("parameters", ())
    headers = {parameter["name"] for parameter in parameters if parameter["in"] == "header"}
    is_form = set(content) == {"multipart/form-data"}
    content_types = tuple(
        name for name in content if name not in {"application/json", "multipart/form-data"} and not is_form
    )
    return Operation(
        name=operation["operationId"],
        method=method,
        path=path,
        path_parameters=tuple(parameter["name"] for parameter in parameters if parameter["in"] == "path"),
        query=tuple(
            Parameter(p["name"], p["schema"], p["required"], _flat(p["description"]))
            for p in parameters
            if p["in"] == "query"
        ),
        replies=replies,
        summary=operation["summary"],
        description=operation.get("description", ""),
        is_public=not operation["security"],
        takes_key=KEY_HEADER in headers,
        takes_version=VERSION_HEADER in headers,
        body=content.get("application/json", {}).get("schema"),
        is_body_required=operation.get("requestBody", {}).get("required", True),
        parts=content["multipart/form-data"]["schema"]["properties"] if is_form else {},
        content_types=content_types,
    )


def _replies(responses: Schema) -> dict[int, Schema | None] | None:
    """The schemas of successes, None for an operation that answers with a page."""
    found: dict[int, Schema | None] = {}
    for status, response in responses.items():
        content = response.get("content", {})
        if status >= "4":
            continue
        if "text/html" in content:
            return None
        if "application/json" in content:
            found[int(status)] = content["application/json"]["schema"]
        elif status == "204":
            found[204] = None
        else:
            found[200] = {}
    return found


def _flat(text: str) -> str:
    """A description without the indentation of the docstring it comes from."""
    return "\n".join(line.strip() for line in text.splitlines())
