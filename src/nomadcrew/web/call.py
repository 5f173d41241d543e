"""Requests, replies and the `Call` that a handler gets; the same on both hosts."""

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
from nomadcrew.web.form_data import Form
from nomadcrew.web.routes import Route

# The monolith's rule: a number that does not fit into 64 bits is no number. `int` alone would accept more digits.
# A fraction is cut off, as in bodies.
_NUMBER = re.compile(r"([+-]?[0-9]{1,18})(?:\.[0-9]{0,18})?")


class Request(Struct, frozen=True):
    """A request from a host. Header names are lower-case.

    `claims` is set if a gateway verified the token, and `refusal` if it found it invalid.

    `form` replaces the body on rows with a form.
    """

    params: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes
    client_ip: str
    request_id: str
    claims: Claims | None = None
    refusal: Unauthenticated | None = None
    form: Form | None = None

    @property
    def content(self) -> bytes:
        """The bytes that tell this body from others."""
        return self.body if self.form is None else self.form.digest


class Reply(Struct, frozen=True):
    """Status, headers and encoded body. A handler returns one only if the row's reply type is not enough."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Call(Struct, frozen=True):
    """One request at one row. `fingerprint` identifies repeats on rows that use one, and is empty on others."""

    route: Route
    request: Request
    ports: Ports
    now: datetime
    verified_claims: Claims | None
    fingerprint: bytes

    @property
    def user_id(self) -> UserId:
        return self.claims.user_id

    @property
    def claims(self) -> Claims:
        if self.verified_claims is None:
            raise Unauthenticated
        return self.verified_claims

    @property
    def trip_id(self) -> TripId:
        """The trip id in the path.

        Raises:
            NotTripMember: the id is malformed; the refusal is that of a foreign trip.
        """
        value = parse_uuid(self.request.params["id"])
        if value is None:
            raise NotTripMember
        return TripId(value)

    def id(self, name: str, otherwise: DomainError) -> UUID:
        """The id in the path under `name`. Raises `otherwise` if it is malformed."""
        value = parse_uuid(self.request.params[name])
        if value is None:
            raise otherwise
        return value

    @property
    def user_agent(self) -> str:
        """The client's name for itself, without characters that cannot be shown; empty without one."""
        return "".join(filter(str.isprintable, self.request.headers.get("user-agent", "")))

    def query(self, name: str) -> str | None:
        """The first value of a query parameter."""
        values = self.request.query.get(name)
        return values[0] if values else None

    def count(self, name: str, *, default: int, lowest: int = 0, highest: int, over: int | None = None) -> int:
        """A number in the query: `default` if it is absent, not a number or below `lowest`.

        Above `highest` the result is `over` if given, else `highest`.
        """
        value = whole_number(self.query(name))
        if value is None or value < lowest:
            return default
        if value > highest:
            return highest if over is None else over
        return value


def bearer(headers: Mapping[str, str]) -> str:
    """The token of an `Authorization: Bearer` header.

    Raises:
        Unauthenticated: the header is missing or has another form.
    """
    header = headers.get("authorization")
    if not header:
        raise Unauthenticated("Sign in to continue.", code="token_missing")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("The Authorization header is not a bearer token.", code="invalid_auth_format")
    return token.strip()


def whole_number(text: str | None) -> int | None:
    """The number in a query parameter, without its fraction; None if it is absent or not a number."""
    number = _NUMBER.fullmatch(text or "")
    return None if number is None else int(number[1])


def parse_query(text: str) -> Mapping[str, Sequence[str]]:
    """The values of a raw query string by name, without NUL, which PostgreSQL cannot store."""
    if not text:
        return {}
    query = parse_qs(text, keep_blank_values=True)
    if "%00" not in text and "\x00" not in text:
        return query
    return {name: [value.replace("\x00", "") for value in values] for name, values in query.items()}


def request_id_of(headers: Mapping[str, str], otherwise: str) -> str:
    """The client's `X-Request-ID` if it is safe to log, else `otherwise`."""
    id_ = headers.get("x-request-id", "")
    return id_ if 0 < len(id_) <= 128 and id_.isascii() and id_.isprintable() else otherwise
