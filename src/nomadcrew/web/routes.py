"""The route table: one row per endpoint, read by both hosts, OpenAPI, the permission matrix and the CDK app."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from msgspec import Struct

from nomadcrew.core.permissions import rule
from nomadcrew.core.rate_limits import LIMITS
from nomadcrew.web.form_data import MakeParser

Handler = Callable[..., Awaitable[Any]]

# The default of a row. The longest texts of a trip fit, each character escaped as a surrogate pair. The worst JSON
# of this size takes some 30 ms to decode.
MAX_BODY_BYTES = 128 << 10
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def allowed(methods: Iterable[str]) -> str:
    """The value of `Allow` at a path with rows of these methods; GET implies HEAD."""
    known = {*methods, "OPTIONS"}
    if "GET" in known:
        known.add("HEAD")
    return ", ".join(method for method in METHODS if method in known)


class Auth(StrEnum):
    PUBLIC = "public"
    TOKEN = "token"  # noqa: S105 — a valid token; its profile may not exist yet
    USER = "user"  # a valid token whose profile exists; the row's statement checks it


class Idempotency(StrEnum):
    """How a row makes a repeated write harmless. An Idempotency-Key works on the first two only."""

    NATURAL = "natural"  # the write is idempotent: an upsert, a state, or it has its own key
    FINGERPRINT = "fingerprint"  # a hash of caller, route and body, for 30 s after success
    # The two below ignore the key: the reply contains credentials, which are not stored, the write is more than one
    # transaction, or the row only reads.
    FINGERPRINT_ONLY = "fingerprint only"
    NEVER = "never"

    @property
    def takes_key(self) -> bool:
        return self in (Idempotency.NATURAL, Idempotency.FINGERPRINT)

    @property
    def has_fingerprint(self) -> bool:
        return self in (Idempotency.FINGERPRINT, Idempotency.FINGERPRINT_ONLY)


class Gate(Struct, frozen=True):
    """The rule of `core.permissions` that a row enforces."""

    resource: str
    action: str

    def __post_init__(self) -> None:
        rule(self.resource, self.action)


class Param(Struct, frozen=True):
    """A query parameter in OpenAPI. Handlers parse it leniently, as the contract requires."""

    name: str
    type: str
    description: str
    required: bool = False


class Route(Struct, frozen=True):
    """A row of the table.

    `statements` is the number of SQL statements of a typical request; any number but one needs a `why`.
    `tells` wakes the outbox relay around the handler; False if the write publishes its events in another way.
    `also` lists further success statuses, each with the type of its body.
    `takes_keys` is False on rows that refuse API keys, such as those that create other credentials.
    `max_body_bytes` is the limit of both hosts; that of API Gateway and Lambda may be lower.
    A `raw` body is passed to the handler as bytes, a form with a file as the request's `form`, which
    the parser `form` reads; it may take a body that is the file itself, too.
    The reply of a `versioned` row is an entity, whose version is in the header ETag; its writes obey If-Match.
    """

    function: str
    method: str
    path: str
    handler: Handler
    auth: Auth
    gate: Gate | None
    bucket: str
    status: int
    idempotency: Idempotency
    refusals: tuple[int, ...]
    query: tuple[Param, ...]
    statements: int
    why: str
    html: bool
    body: Any = None
    body_optional: bool = False
    reply: Any = None
    summary: str = ""
    description: str = ""
    also: tuple[tuple[int, Any], ...] = ()
    uses_outbox: bool = True
    max_body_bytes: int = MAX_BODY_BYTES
    raw: bool = False
    form: MakeParser | None = None
    versioned: bool = False
    takes_keys: bool = True

    @property
    def key(self) -> str:
        """API Gateway's `routeKey`."""
        return f"{self.method} {self.path}"

    @property
    def mutates(self) -> bool:
        return self.method != "GET"

    @property
    def trip_scoped(self) -> bool:
        return self.path.startswith("/v1/trips/{id}")


class Routes(Struct):
    """The rows of one function, and the ports it declares. On Lambda it gets no other ports."""

    function: str
    ports: tuple[str, ...] = ()
    uses_outbox: bool = True
    takes_keys: bool = True
    rows: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self.rows)

    def route(
        self,
        method: str,
        path: str,
        *,
        auth: Auth = Auth.USER,
        gate: Gate | None = None,
        bucket: str = "default",
        status: int = HTTPStatus.OK,
        idempotency: Idempotency = Idempotency.NATURAL,
        refusals: tuple[int, ...] = (),
        query: tuple[Param, ...] = (),
        statements: int = 1,
        why: str = "",
        html: bool = False,
        body_optional: bool = False,
        also: tuple[tuple[int, Any], ...] = (),
        uses_outbox: bool | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        raw: bool = False,
        form: MakeParser | None = None,
        versioned: bool = False,
        takes_keys: bool | None = None,
    ) -> Callable[[Handler], Handler]:
        """Declare a row. The handler's annotations are the types of body and reply, its docstring the
        documentation.

        Raises:
            ValueError: `statements` and `why` contradict each other.
            KeyError: unknown gate or bucket.
        """
        if (statements != 1) != bool(why):
            raise ValueError(f"{method} {path}: `why` is required unless there is one statement")
        _ = LIMITS[bucket]

        def declare(handler: Handler) -> Handler:
            notes = handler.__annotations__
            summary, _, description = (handler.__doc__ or "").strip().partition("\n")
            self.rows.append(
                Route(
                    self.function, method, path, handler, auth, gate, bucket, int(status), idempotency, refusals,
                    query, statements, why, html, notes.get("body"), body_optional, notes.get("return"),
                    summary.strip().rstrip("."), " ".join(description.split()), also,
                    self.uses_outbox if uses_outbox is None else uses_outbox, max_body_bytes, raw,
                    form, versioned, self.takes_keys if takes_keys is None else takes_keys,
                )
            )  # fmt: skip
            return handler

        return declare

    def get(self, path: str, **row: Any) -> Callable[[Handler], Handler]:
        return self.route("GET", path, **row)

    def post(self, path: str, **row: Any) -> Callable[[Handler], Handler]:
        return self.route("POST", path, **row)

    def put(self, path: str, **row: Any) -> Callable[[Handler], Handler]:
        return self.route("PUT", path, **row)

    def patch(self, path: str, **row: Any) -> Callable[[Handler], Handler]:
        return self.route("PATCH", path, **row)

    def delete(self, path: str, **row: Any) -> Callable[[Handler], Handler]:
        return self.route("DELETE", path, **row)
