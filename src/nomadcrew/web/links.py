"""What leads where: OpenAPI links, by which a client, or a fuzzer, goes from a reply to what can follow it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nomadcrew.web.routes import Route


@dataclass(frozen=True, slots=True)
class Link:
    """From the successful reply of one row to others, with where their path parameters come from."""

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


def broken_links(routes: Iterable[Route], links: Sequence[Link] = LINKS) -> list[str]:
    """What is wrong with the links of a whole table: rows that are not in it, parameters a target has not."""
    keys = {route.key for route in routes}
    wrong = [f"{link.source} is no row" for link in links if link.source not in keys]
    for link in links:
        for target in link.targets:
            if target not in keys:
                wrong.append(f"{link.source} leads to {target}, which is no row")
            wrong += [
                f"{target} has no {{{name}}}" for name in link.parameters if f"{{{name}}}" not in target.split("/")
            ]
    return wrong


def links_from(route: Route, table: dict[str, Route], links: Sequence[Link] = LINKS) -> dict[str, Any]:
    """The link objects of a row's reply; rows that are not in `table`, part of one perhaps, are left out."""
    found: dict[str, Any] = {}
    for link in links:
        if link.source != route.key:
            continue
        for target in link.targets:
            if target in table:
                operation = table[target].handler.__name__
                found[operation] = {"operationId": operation, "parameters": link.parameters}
    return found
