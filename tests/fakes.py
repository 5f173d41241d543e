"""Ports for tests that need few of them; use of any other port fails the test."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, cast
from uuid import UUID

from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import Unauthenticated, Unavailable, Unprocessable
from nomadcrew.core.events import Audience, Event
from nomadcrew.core.idempotency import StoredReply
from nomadcrew.core.ids import EventId, SessionId, UserId, uuid7
from nomadcrew.core.ports import Ports, Site
from nomadcrew.core.rate_limits import Allowance
from nomadcrew.core.sync.cursors import Cursor
from nomadcrew.core.timezones import local_day
from nomadcrew.core.weather.model import MAX_DAYS, Area, Conditions, ForecastDay, Weather, WeatherUnavailable

NOON = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC)
ANA = UserId(UUID("019a0000-0000-7000-8000-00000000000a"))
BEN = UserId(UUID("019a0000-0000-7000-8000-00000000000b"))


class UnexpectedPort:
    """A port that must not be used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> NoReturn:
        raise AssertionError(f"ports.{self._name}.{attribute} was used, and this test gave no such port")

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise AssertionError(f"ports.{self._name} was called, and this test gave no such port")


@dataclass
class SetClock:
    """A clock that moves only by `advance`."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class CountingIds:
    """Ids 1, 2, 3 …, so that tests can predict them."""

    last: int = 0

    def __call__(self) -> UUID:
        self.last += 1
        return UUID(int=0x019A_0000_0000_7000_8000_0000_0000_0000 + self.last)


@dataclass
class OpenLimits:
    """`RateLimits` that refuse only the buckets in `closed`, and record requests."""

    closed: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    async def spend(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        self.asked.append((bucket, key, cost))
        if bucket in self.closed:
            return Allowance(allowed=False, limit=10, remaining=0, reset_s=60, retry_after_s=7)
        return Allowance(allowed=True, limit=10, remaining=9, reset_s=6, retry_after_s=0)


@dataclass
class FakeTokens:
    """`Tokens` with the user's name as token."""

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
class MemoryIdempotency:
    """`IdempotencyStore` in a dict."""

    kept: dict[bytes, tuple[bytes, StoredReply]] = field(default_factory=dict)

    async def run_once(
        self, key: bytes, request_hash: bytes, make: Callable[[], Awaitable[StoredReply]], *, now: datetime
    ) -> StoredReply:
        if key not in self.kept:
            self.kept[key] = (request_hash, await make())
        known_hash, reply = self.kept[key]
        if known_hash != request_hash:
            raise Unprocessable("The key was used for another request.", code="idempotency_key_reused")
        return reply


@dataclass
class CountingOutbox:
    """`Outbox` that counts writes, and commits with events."""

    writes: int = 0
    commits_with_events: int = 0

    def before_write(self) -> None:
        self.writes += 1

    async def after_commit(self, *, has_events: bool = True) -> None:
        self.commits_with_events += has_events

    async def sweep(self) -> int:
        return 0


@dataclass
class RecordingBroadcaster:
    """`Broadcaster` that records every event with its `latest_of`, and addressed users by event id."""

    events: list[Event] = field(default_factory=list)
    latest_of: list[str | None] = field(default_factory=list)
    addressed: dict[UUID, list[UserId]] = field(default_factory=dict)
    listeners: bool = True

    def has_listeners(self) -> bool:
        return self.listeners

    async def broadcast(self, event: Event, *, latest_of: str | None = None) -> None:
        self.events.append(event)
        self.latest_of.append(latest_of)

    async def send_to(self, event: Event, people: Sequence[UserId]) -> None:
        self.events.append(event)
        self.addressed[event.id] = list(people)


@dataclass
class FakeOpenSessions:
    """`OpenSessions` in which all sessions are open but those in `ended`; unreachable while `away`."""

    ended: set[SessionId] = field(default_factory=set)
    away: bool = False

    async def is_open(self, user_id: UserId, session_id: SessionId) -> bool:
        if self.away:
            raise Unavailable
        return session_id not in self.ended


class FirstSyncPoint:
    """The point of an empty database."""

    async def present(self, now: datetime) -> Cursor:
        return Cursor(UUID(int=1), "1:1:", now)


def fake_ports(**given: Any) -> Ports:
    """Ports with fake clock, ids, limits, tokens and outbox, replaced by those in `given`.

    Raises:
        TypeError: no port has that name.
    """
    defaults: dict[str, Any] = {
        "site": Site("http://testserver"),
        "clock": SetClock(),
        "new_id": CountingIds(),
        "limits": OpenLimits(),
        "idempotency": MemoryIdempotency(),
        "outbox": CountingOutbox(),
        "verifier": FakeTokens(),
        "open_sessions": FakeOpenSessions(),
        "sync_points": FirstSyncPoint(),
    }
    untouchable = {name: cast(Any, UnexpectedPort(name)) for name in Ports.__struct_fields__}
    return Ports(**{**untouchable, **defaults, **given})


def an_event(**given: Any) -> Event:
    """The event of a to-do that ana created at noon, with changed fields in `given`."""
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


class FixedWeather:
    """`WeatherSource` with light rain everywhere; it waits while `released` is clear, fails while `failing`, and
    knows no humidity and no wind without `known`."""

    def __init__(self) -> None:
        self.areas: list[Area] = []
        self.failing, self.known = False, True
        self.asked, self.released = asyncio.Event(), asyncio.Event()
        self.released.set()

    async def fetch(self, area: Area, *, now: datetime) -> Weather:
        self.areas.append(area)
        self.asked.set()
        await self.released.wait()
        if self.failing:
            raise WeatherUnavailable(details="weather: 500")
        today = local_day(now, area.timezone)
        days = [ForecastDay(today + timedelta(days=n), weather_code=61) for n in range(MAX_DAYS)]
        if not self.known:
            return Weather(now, Conditions(14.3, 61, True), days)
        return Weather(now, Conditions(14.3, 61, True, humidity_percent=81, wind_speed_ms=4.1), days)
