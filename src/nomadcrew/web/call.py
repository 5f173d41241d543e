"""A request as a handler sees it, the same whichever host received it."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import parse_qs
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import DomainError, NotTripMember, Unauthenticated
from nomadcrew.core.ids import TripId, UserId, parse_uuid
from nomadcrew.core.ports import Ports
from nomadcrew.web.routes import Route

# As the monolith reads one: what does not fit into 64 bits is none, and `int` takes more than these digits.
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


class Request(Struct, frozen=True):
    """What a host hands to the dispatcher. Header names are lower-case; `claims` where a gateway verified."""

    params: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes
    client_ip: str
    request_id: str
    claims: Claims | None = None


class Reply(Struct, frozen=True):
    """Status, headers and encoded body. A handler returns one only where the row's reply type does not do."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Call(Struct, frozen=True):
    """One request at one row. `fingerprint` names it for replays, on rows that keep one; empty on others."""

    route: Route
    request: Request
    ports: Ports
    now: datetime
    claims: Claims | None
    fingerprint: bytes

    @property
    def me(self) -> UserId:
        return self.caller.user_id

    @property
    def caller(self) -> Claims:
        if self.claims is None:
            raise Unauthenticated
        return self.claims

    @property
    def trip_id(self) -> TripId:
        """The trip in the path; a malformed id is refused like somebody else's."""
        value = parse_uuid(self.request.params["id"])
        if value is None:
            raise NotTripMember
        return TripId(value)

    def id(self, name: str, otherwise: DomainError) -> UUID:
        """The id in the path under `name`, or `otherwise` raised where it is malformed."""
        value = parse_uuid(self.request.params[name])
        if value is None:
            raise otherwise
        return value

    def query(self, name: str) -> str | None:
        """The first value of a query parameter."""
        values = self.request.query.get(name)
        return values[0] if values else None

    def count(self, name: str, *, default: int, lowest: int = 0, highest: int, over: int | None = None) -> int:
        """A number in the query: `default` when absent, not a number or too low.

        Above `highest` it is `over` where that is given, else `highest`.
        """
        text = self.query(name)
        if text is None or _NUMBER.fullmatch(text) is None:
            return default
        value = int(text)
        if value < lowest:
            return default
        if value > highest:
            return highest if over is None else over
        return value


def parse_query(text: str) -> Mapping[str, Sequence[str]]:
    """A raw query string by name. NUL, which PostgreSQL cannot store, is cut out of values."""
    if not text:
        return {}
    query = parse_qs(text, keep_blank_values=True)
    if "%00" not in text and "\x00" not in text:
        return query
    return {name: [value.replace("\x00", "") for value in values] for name, values in query.items()}


def request_id_of(headers: dict[str, str], otherwise: str) -> str:
    """The caller's `X-Request-ID` where it is fit for a log, else `otherwise`."""
    given = headers.get("x-request-id", "")
    return given if 0 < len(given) <= 128 and given.isascii() and given.isprintable() else otherwise
