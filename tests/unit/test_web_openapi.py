"""The OpenAPI document matches the route table and is accepted by tools."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import jsonschema_rs
import msgspec
import pytest
import schemathesis
from schemathesis.core.result import Ok

from nomadcrew import __version__
from nomadcrew.api import examples
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.core.ports import Site
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.links import LINKS, Link
from nomadcrew.web.openapi import document, refusals_of
from nomadcrew.web.problems import Problem
from nomadcrew.web.routes import Auth, Gate, Idempotency, Param, Route, Routes

SITE = Site("https://api.example.com")


class NewTrip(msgspec.Struct, rename="camel"):
    """A new trip."""

    name: str
    start_date: datetime


class Trip(msgspec.Struct, rename="camel"):
    id: UUID
    name: str
    start_date: datetime
    tags: list[str] = []


class Todo(msgspec.Struct):
    id: UUID
    text: str | None


routes = Routes("trip")


@routes.post("/v1/trips", status=201, refusals=(409,), idempotency=Idempotency.FINGERPRINT)
async def create_trip(call: Call, body: NewTrip) -> Trip:
    """Start a trip.

    The caller
    owns it.
    """
    raise NotImplementedError


@routes.get("/v1/trips", query=(Param("limit", "integer", "Page size."), Param("after", "uuid", "Cursor.", True)))
async def list_trips(call: Call) -> list[Trip]:
    """List the caller's trips."""
    raise NotImplementedError


@routes.get("/v1/trips/{id}", gate=Gate("trip", "read"))
async def get_trip(call: Call) -> Trip:
    """Get a trip."""
    raise NotImplementedError


@routes.delete("/v1/trips/{id}", gate=Gate("trip", "delete"), status=204, takes_keys=False)
async def delete_trip(call: Call) -> None:
    """Delete a trip."""


@routes.post("/v1/trips/{id}/todos", gate=Gate("todo", "create"), status=201)
async def create_todo(call: Call, body: list[Todo]) -> Todo | Reply:
    """Create to-dos."""
    raise NotImplementedError


@routes.get("/v1/trips/{id}/todos/{todoId}", gate=Gate("todo", "read"))
async def get_todo(call: Call) -> Todo:
    """Get a to-do."""
    raise NotImplementedError


@routes.post("/v1/auth/login", auth=Auth.PUBLIC, idempotency=Idempotency.NEVER, refusals=(401,), body_optional=True)
async def login(call: Call, body: NewTrip) -> dict[str, str]:
    """Sign in."""
    raise NotImplementedError


@routes.get("/invite/accept/{token}", auth=Auth.PUBLIC, html=True, refusals=(404,))
async def invitation_page(call: Call) -> Reply:
    """Show the page of an invitation."""
    raise NotImplementedError


class Accepted(msgspec.Struct):
    confirmation_required: bool


@routes.post(
    "/v1/auth/register", auth=Auth.PUBLIC, idempotency=Idempotency.NEVER, status=201, also=((202, Accepted),)
)
async def register(call: Call, body: NewTrip) -> Todo | Reply:
    """Register."""
    raise NotImplementedError


@routes.post("/invite/accept/{token}", auth=Auth.PUBLIC, html=True, idempotency=Idempotency.NEVER)
async def post_invitation_page(call: Call) -> Reply:
    """Submit the form of the page."""
    raise NotImplementedError


@routes.get("/v1/old", auth=Auth.PUBLIC, status=302)
async def old_link(call: Call) -> Reply:
    """Redirect an old link."""
    raise NotImplementedError


TABLE = {route.key: route for route in routes}
DOCUMENT = document(routes, site=SITE)


def operation(key: str) -> dict[str, Any]:
    method, _, path = key.partition(" ")
    found: dict[str, Any] = DOCUMENT["paths"][path][method.lower()]
    return found


def parameters(key: str) -> dict[str, dict[str, Any]]:
    return {parameter["name"]: parameter for parameter in operation(key).get("parameters", [])}


def test_every_route_is_an_operation_with_the_name_of_its_handler() -> None:
    ids = {
        f"{method.upper()} {path}": entry["operationId"]
        for path, methods in DOCUMENT["paths"].items()
        for method, entry in methods.items()
    }
    assert ids == {key: route.handler.__name__ for key, route in TABLE.items()}


def test_summary_and_description_are_the_docstring() -> None:
    assert operation("POST /v1/trips")["summary"] == "Start a trip"
    assert operation("POST /v1/trips")["description"] == "The caller owns it."
    assert operation("POST /v1/trips")["tags"] == ["trip"]


def test_path_ids_are_uuids_and_tokens_are_text() -> None:
    assert parameters("GET /v1/trips/{id}/todos/{todoId}")["todoId"]["schema"] == {
        "type": "string",
        "format": "uuid",
    }
    assert parameters("GET /invite/accept/{token}")["token"]["schema"] == {"type": "string", "minLength": 1}


def test_query_parameters_have_their_types() -> None:
    listed = parameters("GET /v1/trips")
    assert (listed["limit"]["schema"], listed["limit"]["required"]) == ({"type": "integer"}, False)
    assert (listed["after"]["schema"], listed["after"]["required"]) == ({"type": "string", "format": "uuid"}, True)


def test_bodies_and_replies_refer_to_their_types() -> None:
    created = operation("POST /v1/trips")
    assert created["requestBody"]["required"] is True
    schema = created["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/NewTrip"}
    reply = created["responses"]["201"]["content"]["application/json"]["schema"]
    assert reply == {"$ref": "#/components/schemas/Trip"}
    assert set(DOCUMENT["components"]["schemas"]) == {"NewTrip", "Trip", "Todo", "Accepted", "Problem"}
    assert set(DOCUMENT["components"]["schemas"]["Trip"]["properties"]) == {"id", "name", "startDate", "tags"}


def test_arrays_and_dicts_have_their_own_schemas() -> None:
    listed = operation("GET /v1/trips")["responses"]["200"]["content"]["application/json"]["schema"]
    assert listed == {"type": "array", "items": {"$ref": "#/components/schemas/Trip"}}
    sent = operation("POST /v1/trips/{id}/todos")["requestBody"]["content"]["application/json"]["schema"]
    assert sent == {"type": "array", "items": {"$ref": "#/components/schemas/Todo"}}
    signed_in = operation("POST /v1/auth/login")["responses"]["200"]["content"]["application/json"]["schema"]
    assert signed_in == {"type": "object", "additionalProperties": {"type": "string"}}


def test_a_route_that_may_return_a_reply_documents_its_body_type() -> None:
    reply = operation("POST /v1/trips/{id}/todos")["responses"]["201"]["content"]["application/json"]["schema"]
    assert reply == {"$ref": "#/components/schemas/Todo"}


def test_an_additional_success_is_documented() -> None:
    responses = operation("POST /v1/auth/register")["responses"]
    schemas = {status: responses[status]["content"]["application/json"]["schema"] for status in ("201", "202")}
    assert schemas == {
        "201": {"$ref": "#/components/schemas/Todo"},
        "202": {"$ref": "#/components/schemas/Accepted"},
    }


def test_an_optional_body_is_not_required() -> None:
    assert operation("POST /v1/auth/login")["requestBody"]["required"] is False


def test_empty_replies_pages_and_redirects_have_no_json() -> None:
    assert "content" not in operation("DELETE /v1/trips/{id}")["responses"]["204"]
    assert list(operation("GET /invite/accept/{token}")["responses"]["200"]["content"]) == ["text/html"]
    moved = operation("GET /v1/old")["responses"]["302"]
    assert "content" not in moved
    assert "Location" in moved["headers"]


@pytest.mark.parametrize(
    ("key", "statuses"),
    [
        ("POST /v1/trips", {400, 401, 403, 409, 413, 415, 422, 429, 500, 503}),
        ("GET /v1/trips", {401, 403, 429, 500, 503}),
        ("GET /v1/trips/{id}", {401, 403, 404, 429, 500, 503}),
        ("DELETE /v1/trips/{id}", {400, 401, 403, 404, 422, 429, 500, 503}),
        ("POST /v1/auth/login", {400, 401, 413, 415, 429, 500, 503}),
        ("GET /v1/old", {429, 500, 503}),
    ],
)
def test_every_refusal_is_documented_with_the_problem(key: str, statuses: set[int]) -> None:
    assert set(refusals_of(TABLE[key])) == statuses
    responses = operation(key)["responses"]
    assert {int(status) for status in responses} == {TABLE[key].status} | statuses
    for status in statuses:
        assert responses[str(status)] == {"$ref": f"#/components/responses/Refused{status}"}
        refused = DOCUMENT["components"]["responses"][f"Refused{status}"]
        assert refused["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert ("Retry-After" in refused["headers"]) == (status in (429, 503))
        assert "X-Request-ID" in refused["headers"]


def test_pages_accept_forms_and_refuse_with_html_or_the_problem() -> None:
    assert set(refusals_of(TABLE["GET /invite/accept/{token}"])) == {404, 429, 500, 503}
    assert set(refusals_of(TABLE["POST /invite/accept/{token}"])) == {400, 404, 413, 415, 429, 500, 503}
    posted = operation("POST /invite/accept/{token}")
    assert list(posted["requestBody"]["content"]) == ["application/x-www-form-urlencoded"]
    refused = DOCUMENT["components"]["responses"][posted["responses"]["404"]["$ref"].rpartition("/")[2]]
    assert set(refused["content"]) == {"application/json", "text/html"}


def test_only_repeatable_writes_accept_an_idempotency_key() -> None:
    taking = {key for key in TABLE if "Idempotency-Key" in parameters(key)}
    assert taking == {"POST /v1/trips", "DELETE /v1/trips/{id}", "POST /v1/trips/{id}/todos"}


def test_a_row_names_the_credentials_that_it_takes() -> None:
    assert operation("POST /v1/auth/login")["security"] == []
    assert operation("GET /v1/trips")["security"] == [{"bearer": []}, {"apiKey": []}]
    assert operation("DELETE /v1/trips/{id}")["security"] == [{"bearer": []}]


def test_the_document_has_version_and_server() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == __version__
    assert DOCUMENT["servers"] == [{"url": "https://api.example.com"}]


def broken_links(routes: Iterable[Route], links: Sequence[Link] = LINKS) -> list[str]:
    """The faults of a table's links: rows that are not in the table, parameters that a target lacks."""
    keys = {route.key for route in routes}
    faults = [f"{link.source} is no row" for link in links if link.source not in keys]
    for link in links:
        for target in link.targets:
            if target not in keys:
                faults.append(f"{link.source} leads to {target}, which is no row")
            faults += [
                f"{target} has no {{{name}}}" for name in link.parameters if f"{{{name}}}" not in target.split("/")
            ]
    return faults


def test_links_lead_from_a_created_object_to_its_operations() -> None:
    links = operation("POST /v1/trips")["responses"]["201"]["links"]
    assert set(links) == {"get_trip", "delete_trip", "create_todo"}
    assert links["get_trip"] == {"operationId": "get_trip", "parameters": {"id": "$response.body#/id"}}
    todo = operation("POST /v1/trips/{id}/todos")["responses"]["201"]["links"]["get_todo"]["parameters"]
    assert todo == {"id": "$request.path.id", "todoId": "$response.body#/id"}


def test_broken_links_are_reported() -> None:
    links = (
        Link("POST /v1/trips", {"id": "x"}, ("GET /v1/trips/{id}", "GET /v1/gone/{id}", "GET /v1/trips")),
        Link("POST /v1/gone", {}, ()),
    )
    assert broken_links(routes, links) == [
        "POST /v1/gone is no row",
        "POST /v1/trips leads to GET /v1/gone/{id}, which is no row",
        "GET /v1/trips has no {id}",
    ]


def test_duplicate_operation_names_are_refused() -> None:
    twice = [*routes, *routes]
    assert document(twice, site=SITE) == DOCUMENT  # the same row twice is one row
    other = Routes("other")
    other.get("/v1/other")(get_trip)
    with pytest.raises(ValueError, match="used twice: get_trip"):
        document([*routes, *other], site=SITE)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (item for key, item in value.items() if key == "$ref")
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def assert_valid(built: dict[str, Any]) -> None:
    """Every reference resolves, every schema is valid, and schemathesis accepts every operation."""
    document_ = msgspec.json.decode(msgspec.json.encode(built))
    for reference in set(references(document_)):
        node = document_
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    for schema in document_["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
    loaded = schemathesis.openapi.from_dict(document_)
    loaded.validate()
    results = list(loaded.get_all_operations())
    assert len(results) == sum(len(methods) for methods in document_["paths"].values())
    assert all(isinstance(result, Ok) for result in results)


def test_the_document_is_valid() -> None:
    assert_valid(DOCUMENT)


def test_the_body_of_a_refusal_fits_its_schema() -> None:
    schema = {**DOCUMENT["components"]["schemas"]["Problem"]}
    sent = msgspec.json.decode(msgspec.json.encode(Problem("a", "b", 400, "c", "d", "e", "f", "g", "h")))
    jsonschema_rs.validate(schema, sent)


def test_the_document_of_the_whole_table_is_valid() -> None:
    assert_valid(document(ALL_ROUTES, site=SITE))


DESCRIBED = msgspec.json.decode(msgspec.json.encode(document(ALL_ROUTES, site=SITE, examples=examples.load())))


def media_types() -> Iterator[tuple[str, Any]]:
    """Every JSON body, reply and refusal of the whole table, by its place in the document."""
    for path, methods in DESCRIBED["paths"].items():
        for method, operation_ in methods.items():
            parts = {"body": operation_.get("requestBody", {}), **operation_["responses"]}
            for name, part in parts.items():
                if "application/json" in part.get("content", {}):
                    yield f"{method.upper()} {path} {name}", part["content"]["application/json"]
    for name, response in DESCRIBED["components"]["responses"].items():
        yield name, response["content"]["application/json"]


@pytest.mark.parametrize(
    ("place", "media"), [*media_types()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_body_and_reply_has_an_example_that_fits_its_schema(place: str, media: Any) -> None:
    found = [media["example"]] if "example" in media else [case["value"] for case in media["examples"].values()]
    assert found, place
    schema = {**media["schema"], "components": DESCRIBED["components"]}
    for example in found:
        jsonschema_rs.validate(schema, example)


def test_paths_differ_in_more_than_the_names_of_their_parameters() -> None:
    """API Gateway matches such paths as one, and OpenAPI forbids them."""
    paths = {route.path for route in ALL_ROUTES}
    assert len({re.sub(r"\{\w+\}", "{}", path) for path in paths}) == len(paths)


def test_the_links_of_the_whole_table_are_valid() -> None:
    assert broken_links(ALL_ROUTES) == []
    assert LINKS
