"""OpenAPI links: lead a client, or a fuzzer, from a reply to the requests that can follow it."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from nomadcrew.web.routes import Route


class Link(Struct, frozen=True):
    """Links from the successful reply of one row to other rows. `parameters` are the sources of path parameters."""

    source: str
    parameters: dict[str, str]
    targets: tuple[str, ...]


_FROM_BODY = {"id": "$response.body#/id"}
_IN_TRIP = {"id": "$request.path.id"}

LINKS: tuple[Link, ...] = (
    Link(
        "POST /v1/trips",
        _FROM_BODY,
        (
            "GET /v1/trips/{id}",
            "PUT /v1/trips/{id}",
            "DELETE /v1/trips/{id}",
            "PATCH /v1/trips/{id}/status",
            "GET /v1/trips/{id}/members",
            "POST /v1/trips/{id}/invitations",
            "GET /v1/trips/{id}/invitations",
            "POST /v1/trips/{id}/todos",
            "GET /v1/trips/{id}/todos",
        ),
    ),
    Link(
        "POST /v1/trips/{id}/todos",
        {**_IN_TRIP, "todoId": "$response.body#/id"},
        (
            "GET /v1/trips/{id}/todos/{todoId}",
            "PUT /v1/trips/{id}/todos/{todoId}",
            "DELETE /v1/trips/{id}/todos/{todoId}",
        ),
    ),
    Link(
        "POST /v1/trips/{id}/invitations",
        {**_IN_TRIP, "invitationId": "$response.body#/id"},
        ("DELETE /v1/trips/{id}/invitations/{invitationId}",),
    ),
)


def links_from(route: Route, table: dict[str, Route], links: Sequence[Link] = LINKS) -> dict[str, Any]:
    """The link objects of a row's reply. Targets that `table` lacks are left out, since it may be partial."""
    objects: dict[str, Any] = {}
    for link in links:
        if link.source != route.key:
            continue
        for target in link.targets:
            if target in table:
                operation = table[target].handler.__name__
                objects[operation] = {"operationId": operation, "parameters": link.parameters}
    return objects
