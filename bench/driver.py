"""The bare driver: a route's statements with parameters like the route's, in a loop over asyncpg and nothing else.

Runs in a separate process, so that its CPU is counted separately: `python -m bench.driver trips 16 3 '<world>'`.
"""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any, cast
from uuid import UUID

import asyncpg
import uvloop

from nomadcrew.adapters.postgres.accounts import Passwords, PostgresAccounts
from nomadcrew.adapters.postgres.chat import PostgresChat
from nomadcrew.adapters.postgres.positions import PostgresPositions
from nomadcrew.adapters.postgres.sql import Row, Statement, statements
from nomadcrew.adapters.postgres.todos import PostgresTodos
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Access
from nomadcrew.core.chat.model import NewMessage
from nomadcrew.core.events import Outbox
from nomadcrew.core.ids import EventId, MessageId, TodoId, TripId, UserId, uuid7
from nomadcrew.core.locations.model import Point, Privacy, Report
from nomadcrew.core.permissions import Rule, rule
from nomadcrew.core.todos.model import Todo, TodoStatus

# Parameters are created before the clock starts, more per second than the statements can use.
MAX_PER_S = {"positions": 1_000}
POSITIONS = 50


@dataclass(frozen=True, slots=True)
class Case:
    """A user, and a trip of theirs."""

    user_id: str
    trip_id: str
    login: str


@dataclass(frozen=True, slots=True)
class Work:
    """The statements of one request, in order."""

    statements: tuple[Statement, ...]
    parameters: Callable[[Case], Awaitable[tuple[Sequence[object], ...]]]


def _ordered(statement: Statement, **params: object) -> Sequence[object]:
    return [params[name] for name in statement.params]


_TRIPS, _TODOS = statements("trips"), statements("todos")
_FIND, _OPEN = statements("accounts")["find"], statements("sessions")["open"]


class _Recorder:
    """`Sql` that runs nothing and raises the parameters of a statement."""

    class Asked(Exception):
        def __init__(self, parameters: Sequence[object]) -> None:
            self.parameters = parameters

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        raise self.Asked(_ordered(statement, **params))

    def transaction(self) -> AbstractAsyncContextManager[None]:
        raise AssertionError("one statement needs no transaction")

    def in_transaction(self) -> bool:
        return True  # so that no batch is formed


async def _recorded(call: Awaitable[object]) -> tuple[Sequence[object], ...]:
    """The parameters of an adapter's statement."""
    try:
        await call
    except _Recorder.Asked as recorded:
        return (recorded.parameters,)
    raise AssertionError("no statement was run")


async def _trips(case: Case) -> tuple[Sequence[object], ...]:
    return await _recorded(PostgresTrips(_Recorder()).list_for_user(UserId(UUID(case.user_id))))


async def _trip(case: Case) -> tuple[Sequence[object], ...]:
    return await _recorded(PostgresTrips(_Recorder()).get(_access(case, rule("trip", "read"))))


async def _todo(case: Case) -> tuple[Sequence[object], ...]:
    now = datetime.now(UTC)
    access = _access(case, rule("todo", "create"))
    todo = Todo(
        TodoId(uuid7()), access.trip_id, "pack for the driver", TodoStatus.INCOMPLETE, access.caller, now, now
    )
    added = PostgresTodos(_Recorder()).add(
        todo, access.rule, EventId(uuid7()), now=now, fingerprint=secrets.token_bytes(32)
    )
    return await _recorded(added)


def _access(case: Case, allowed: Rule) -> Access:
    return Access(TripId(UUID(case.trip_id)), UserId(UUID(case.user_id)), allowed)


async def _login(case: Case) -> tuple[Sequence[object], ...]:
    now = datetime.now(UTC)
    session = {
        "id": uuid7(),
        "user_id": UUID(case.user_id),
        "now": now,
        "expires_at": now + timedelta(days=30),
        "hash": secrets.token_bytes(32),
    }
    accounts = PostgresAccounts(_Recorder(), cast(Passwords, None))
    return *await _recorded(accounts.find(case.login, now=now)), _ordered(_OPEN, **session)


async def _chat(case: Case) -> tuple[Sequence[object], ...]:
    trip_id, user_id = TripId(UUID(case.trip_id)), UserId(UUID(case.user_id))
    message = NewMessage(
        MessageId(uuid7()), trip_id, user_id, "on my way, the driver", None, (), EventId(uuid7()),
        datetime.now(UTC), secrets.token_bytes(32),
    )  # fmt: skip
    no_outbox = cast(Outbox, None)
    return await _recorded(PostgresChat(_Recorder(), no_outbox).add(message, rule("chat", "create")))


async def _position(case: Case) -> tuple[Sequence[object], ...]:
    return await _report(case, 1)


async def _positions(case: Case) -> tuple[Sequence[object], ...]:
    return await _report(case, POSITIONS)


async def _report(case: Case, count: int) -> tuple[Sequence[object], ...]:
    now = datetime.now(UTC)
    points = [
        Point(41.14 + index % 10 / 1e6, -8.61, now - timedelta(seconds=2 * (count - index)), Privacy.PRECISE, 8.0)
        for index in range(count)
    ]
    report = Report(
        TripId(UUID(case.trip_id)),
        UserId(UUID(case.user_id)),
        points,
        frozenset(),
        None,
        None,
        EventId(uuid7()),
        now,
    )
    return await _recorded(PostgresPositions(_Recorder()).accept(report, rule("location", "create")))


WORK = {
    "chat": Work((statements("chat")["add"],), _chat),
    "position": Work((statements("locations")["accept"],), _position),
    "positions": Work((statements("locations")["accept"],), _positions),
    "trips": Work((_TRIPS["of"],), _trips),
    "trip": Work((_TRIPS["one"],), _trip),
    "todo": Work((_TODOS["add"],), _todo),
    "login": Work((_FIND, _OPEN), _login),
}


async def run(
    kind: str, connections: int, seconds: float, cases: list[Case], connect: dict[str, Any]
) -> dict[str, float]:
    """Requests per second, and CPU microseconds of this process per request."""
    work = WORK[kind]
    texts = [statement.text for statement in work.statements]
    opened = [await asyncpg.connect(**connect) for _ in range(connections)]
    users = cycle(cases)
    prepared = [await work.parameters(next(users)) for _ in range(int(MAX_PER_S.get(kind, 20_000) * seconds))]
    waiting = iter(prepared)
    times_ms: list[float] = []

    async def ask(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        for parameters in waiting:
            asked_s = time.perf_counter()
            for text, arguments in zip(texts, parameters, strict=True):
                await connection.fetch(text, *arguments)
            done_s = time.perf_counter()
            times_ms.append((done_s - asked_s) * 1000)
            if done_s > until_s:
                return

    until_s = 0.0
    await asyncio.gather(*(ask(connection) for connection in opened))  # once per connection, to prepare statements
    times_ms.clear()
    began_s, cpu_s = time.perf_counter(), time.process_time()
    until_s = began_s + seconds
    await asyncio.gather(*(ask(connection) for connection in opened))
    took_s, used_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    for connection in opened:
        await connection.close()
    times_ms.sort()
    done = len(times_ms)
    return {
        "per_s": done / took_s,
        "cpu_us": used_s / done * 1e6,
        "p50_ms": times_ms[done // 2],
        "p99_ms": times_ms[done * 99 // 100],
    }


def argument(cases: Sequence[Case], connect: dict[str, Any]) -> str:
    """The last argument of the command line."""
    return json.dumps({"cases": [asdict(case) for case in cases], "connect": connect})


def main(arguments: Sequence[str]) -> None:
    kind, connections, seconds, world = arguments
    given = json.loads(world)
    cases = [Case(**case) for case in given["cases"]]
    result = uvloop.run(run(kind, int(connections), float(seconds), cases, given["connect"]))
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
