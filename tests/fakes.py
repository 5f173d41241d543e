"""Ports for tests that need few of them: whatever a test does not give fails loudly when touched."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, cast
from uuid import UUID

from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import Unauthenticated, Unprocessable
from nomadcrew.core.events import Audience, Event
from nomadcrew.core.idempotency import StoredReply
from nomadcrew.core.ids import EventId, UserId, uuid7
from nomadcrew.core.limits import Allowance
from nomadcrew.core.ports import Ports, Site

NOON = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC)
ANA = UserId(UUID("019a0000-0000-7000-8000-00000000000a"))
BEN = UserId(UUID("019a0000-0000-7000-8000-00000000000b"))


class Untouchable:
    """A port that a test did not expect to be used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> NoReturn:
        raise AssertionError(f"ports.{self._name}.{attribute} was used, and this test gave no such port")

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise AssertionError(f"ports.{self._name} was called, and this test gave no such port")


@dataclass
class SetClock:
    """A clock that stands still until it is moved."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class CountingIds:
    """Ids 1, 2, 3 …, so that what is made can be named in advance."""

    last: int = 0

    def __call__(self) -> UUID:
        self.last += 1
        return UUID(int=0x019A_0000_0000_7000_8000_0000_0000_0000 + self.last)


@dataclass
class OpenLimits:
    """`RateLimits` that allow everything but the buckets in `closed`, and remember who asked."""

    closed: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    async def spend(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        self.asked.append((bucket, key, cost))
        if bucket in self.closed:
            return Allowance(allowed=False, limit=10, remaining=0, reset_s=60, retry_after_s=7)
        return Allowance(allowed=True, limit=10, remaining=9, reset_s=6, retry_after_s=0)


@dataclass
class TokenTable:
    """`Tokens` where the token is its own key."""

    known: dict[str, Claims] = field(
        default_factory=lambda: {
            "ana": Claims(ANA, NOON + timedelta(minutes=15)),
            "ben": Claims(BEN, NOON + timedelta(minutes=15)),
        }
    )

    async def verify(self, token: str, *, now: datetime) -> Claims:
        claims = self.known.get(token)
        if claims is None:
            raise Unauthenticated
        if claims.expires_at <= now:
            raise Unauthenticated("The token has expired.", code="token_expired")
        return claims


@dataclass
class MemoryReplies:
    """`IdempotencyStore` in a dict."""

    kept: dict[bytes, tuple[bytes, StoredReply]] = field(default_factory=dict)

    async def run_once(
        self, key: bytes, request_hash: bytes, make: Callable[[], Awaitable[StoredReply]], *, now: datetime
    ) -> StoredReply:
        if key not in self.kept:
            self.kept[key] = (request_hash, await make())
        known_hash, reply = self.kept[key]
        if known_hash != request_hash:
            raise Unprocessable("That key was used for another request.", code="idempotency_key_reused")
        return reply


@dataclass
class Bell:
    """`Outbox` that counts."""

    expected: int = 0
    rung: int = 0

    def before_write(self) -> None:
        self.expected += 1

    async def after_commit(self, *, has_events: bool = True) -> None:
        self.rung += has_events

    async def sweep(self) -> int:
        return 0


@dataclass
class Told:
    """`Broadcaster` that remembers every event, what it is the latest of, and whom it was told to by name."""

    events: list[Event] = field(default_factory=list)
    latest_of: list[str | None] = field(default_factory=list)
    people: dict[UUID, list[UserId]] = field(default_factory=dict)

    async def broadcast(self, event: Event, *, latest_of: str | None = None) -> None:
        self.events.append(event)
        self.latest_of.append(latest_of)

    async def send_to(self, event: Event, people: Sequence[UserId]) -> None:
        self.events.append(event)
        self.people[event.id] = list(people)


def fake_ports(**given: Any) -> Ports:
    """Ports with a set clock, counting ids, open limits and a few tokens, and with `given` in their places.

    Raises:
        TypeError: there is no such port.
    """
    defaults: dict[str, Any] = {
        "site": Site("http://testserver"),
        "clock": SetClock(),
        "new_id": CountingIds(),
        "limits": OpenLimits(),
        "idempotency": MemoryReplies(),
        "outbox": Bell(),
        "verifier": TokenTable(),
    }
    untouchable = {port.name: cast(Any, Untouchable(port.name)) for port in fields(Ports)}
    return Ports(**{**untouchable, **defaults, **given})


def an_event(**given: Any) -> Event:
    """A to-do of ana's that was created at noon, but for what is `given`."""
    fields: dict[str, Any] = {
        "id": EventId(uuid7()),
        "type": "TODO_CREATED",
        "source": "todo_model",
        "trip_id": None,
        "actor_id": ANA,
        "recipient_id": None,
        "audience": Audience.TRIP,
        "occurred_at": NOON,
        "payload": "{}",
    }
    return Event(**{**fields, **given})
