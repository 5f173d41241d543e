"""The cost around a handler, measured in this process: no socket, no database, a trip list of ten."""

import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from nomadcrew import logs
from nomadcrew.adapters.machine.rate_limits import ProcessRateLimits
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.api.trips.bodies import trip_view
from nomadcrew.core.claims import Claims
from nomadcrew.core.clock import utc_now
from nomadcrew.core.ids import MembershipId, TripId, UserId, uuid7
from nomadcrew.core.pages import After
from nomadcrew.core.ports import Ports, Site
from nomadcrew.core.rate_limits import Limit
from nomadcrew.core.trips.model import Trip, TripCard, TripMember, TripPage
from nomadcrew.hosts.machine.http.application import Application
from nomadcrew.hosts.machine.http.exchange import Exchange
from nomadcrew.hosts.machine.http.health import Health
from nomadcrew.hosts.machine.http.metrics import Metrics, MetricsPage
from nomadcrew.web.call import Request
from nomadcrew.web.dispatch import Dispatcher, encode

BATCHES = 15
CALLS = 500


@dataclass(frozen=True, slots=True)
class Around:
    """CPU microseconds for one `GET /v1/trips` of ten trips with five members each."""

    dispatch_us: float  # authentication, rate limit, handler with its views, encoding, log line
    application_us: float  # the same, and routing


class _Trips:
    """Returns ten trips at once."""

    def __init__(self) -> None:
        self._trips = [_card(_trip()) for _ in range(10)]

    async def list_for_user(self, _caller: UserId, *, limit: int, after: After | None) -> TripPage:
        del limit, after
        return TripPage(self._trips, None)


class _Verifier:
    """Returns one user for every token, as from the cache."""

    def __init__(self) -> None:
        self._claims = Claims(UserId(uuid7()), datetime.now(UTC) + timedelta(days=1))

    async def verify(self, _token: str, *, now: datetime) -> Claims:
        return self._claims


def measure() -> Around:
    """Medians over batches, with logs to a file and rate limits, as in production."""
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w") as log:
        logs.set_up("INFO", stream=log)
        try:
            return asyncio.run(_measure())
        finally:
            logs.set_up("WARNING")


async def _measure() -> Around:
    metrics = Metrics()
    dispatcher = Dispatcher(_ports(), metrics.request)
    application = Application(
        ALL_ROUTES,
        dispatcher,
        health=Health(_ready, clock=utc_now),
        metrics=MetricsPage(metrics),
        observe=metrics.request,
    )
    route = next(route for route in ALL_ROUTES if route.key == "GET /v1/trips")
    headers = {"host": "127.0.0.1:8080", "authorization": "Bearer " + "x" * 700}
    request = Request({}, {}, headers, b"", "127.0.0.1", str(uuid7()))
    answer = await dispatcher.handle(route, request)
    if answer.status != HTTPStatus.OK:
        raise RuntimeError(f"the trip list was answered {answer.status}, so the measurement would be meaningless")
    return Around(
        await _cpu_us(lambda: dispatcher.handle(route, request)),
        await _cpu_us(lambda: application.answer(Exchange("GET", "/v1/trips", "", headers, "127.0.0.1"))),
    )


async def _cpu_us(call: Callable[[], Awaitable[object]]) -> float:
    batches = []
    gc.collect()
    for _ in range(BATCHES):
        before_ns = time.process_time_ns()
        for _ in range(CALLS):
            await call()
        batches.append((time.process_time_ns() - before_ns) / CALLS / 1000)
    return statistics.median(batches)


def _ports() -> Ports:
    given = {
        "site": Site("http://127.0.0.1:8080"),
        "clock": utc_now,
        "new_id": uuid7,
        "limits": ProcessRateLimits(utc_now, {"default": Limit(10**9, 60)}),
        "verifier": _Verifier(),
        "trips": _Trips(),
    }
    return Ports(**{name: cast(Any, given.get(name)) for name in Ports.__struct_fields__})


def _card(trip: Trip) -> TripCard:
    return TripCard(trip.id, trip.start_date, trip.member_count, encode(trip_view(trip)).decode())


def _trip() -> Trip:
    trip_id, now = TripId(uuid7()), datetime.now(UTC)
    people = [UserId(uuid7()) for _ in range(5)]
    members = [
        TripMember(MembershipId(uuid7()), trip_id, person, "MEMBER", "ACTIVE", now, now, "ana@example.org", "ana",
                   "Ana", "Lindqvist", "")
        for person in people
    ]  # fmt: skip
    return Trip(
        trip_id, "Along the Douro", "By train from the coast to the border.", None, "Porto, Portugal", "Porto",
        41.1496, -8.611, date(2026, 12, 1), date(2026, 12, 9), "PLANNING", people[0], now, now, "",
        "Europe/Lisbon", 5, members=members,
    )  # fmt: skip


async def _ready() -> None:
    return None
