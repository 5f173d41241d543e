"""The bare driver: a route's statements with parameters like the route's, in a loop over asyncpg.

One request's statements are run for each request, also if the host writes those of several requests at once. It
runs in a separate process, so that its CPU is counted separately: `python -m bench.driver trips 16 3`, with the
world on standard input.
"""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any, cast
from uuid import UUID

import asyncpg
import uvloop

from bench.kinds import POSITIONS, weights
from bench.load import Sample
from bench.machine import tree_cpu_seconds
from bench.requests import in_turn
from bench.world import LETTERS
from nomadcrew.adapters.postgres.accounts import Passwords, PostgresAccounts
from nomadcrew.adapters.postgres.chat import PostgresChat
from nomadcrew.adapters.postgres.notifications import PostgresNotifications
from nomadcrew.adapters.postgres.places import PostgresGazetteer
from nomadcrew.adapters.postgres.polls import PostgresPolls
from nomadcrew.adapters.postgres.positions import PostgresPositions
from nomadcrew.adapters.postgres.sql import Row, Statement, statements
from nomadcrew.adapters.postgres.todos import PostgresTodos
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.adapters.postgres.weather import PostgresDestinations
from nomadcrew.core.access import Access, Command
from nomadcrew.core.chat.model import NewMessage, Reaction
from nomadcrew.core.events import Outbox
from nomadcrew.core.ids import EventId, MessageId, PollId, PollOptionId, TodoId, TripId, UserId, uuid7
from nomadcrew.core.locations.model import Point, Privacy, Report
from nomadcrew.core.permissions import Rule, rule
from nomadcrew.core.places.model import DEFAULT_PLACES, Coordinates
from nomadcrew.core.todos.model import Todo, TodoStatus

# Parameters are created before the clock starts. If they run out, the run ends early.
MAX_PER_S = {"positions": 1_000}
WARM_UP_S = 0.3
NO_OUTBOX = cast(Outbox, None)


@dataclass(frozen=True, slots=True)
class Case:
    """A user, a trip of theirs, and its newest messages, oldest first."""

    user_id: str
    trip_id: str
    login: str
    messages: tuple[str, ...]
    poll: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """One statement of a request."""

    statement: Statement
    parameters: Sequence[object]


# The statements of a user's request in order; the number counts earlier requests of the same user and trip.
Work = Callable[[Case, int], Awaitable[Sequence[Asked]]]


class _Recorder:
    """`Sql` that runs nothing and raises a statement with its parameters."""

    class Recorded(Exception):
        def __init__(self, asked: Asked) -> None:
            self.asked = asked

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        raise self.Recorded(_asked(statement, **params))

    def transaction(self) -> AbstractAsyncContextManager[None]:
        raise AssertionError("one statement needs no transaction")

    def in_transaction(self) -> bool:
        return True  # so that no batch is formed


def _asked(statement: Statement, **params: object) -> Asked:
    return Asked(statement, [params[name] for name in statement.params])


async def _recorded(call: Awaitable[object]) -> Sequence[Asked]:
    """The statement of an adapter's method."""
    try:
        await call
    except _Recorder.Recorded as recorded:
        return (recorded.asked,)
    raise AssertionError("no statement was run")


async def _trips(case: Case, _number: int) -> Sequence[Asked]:
    return await _recorded(PostgresTrips(_Recorder()).list_for_user(UserId(UUID(case.user_id))))


async def _trip(case: Case, _number: int) -> Sequence[Asked]:
    return await _recorded(PostgresTrips(_Recorder()).card(_access(case, rule("trip", "read"))))


async def _notifications(case: Case, _number: int) -> Sequence[Asked]:
    page = PostgresNotifications(_Recorder()).page(UserId(UUID(case.user_id)), is_read=None, limit=20)
    return await _recorded(page)


async def _messages(case: Case, _number: int) -> Sequence[Asked]:
    chat = PostgresChat(_Recorder(), NO_OUTBOX)
    return await _recorded(chat.before(_access(case, rule("chat", "read")), None, limit=50))


async def _locations(case: Case, _number: int) -> Sequence[Asked]:
    positions = PostgresPositions(_Recorder())
    return await _recorded(positions.members_with_positions(_access(case, rule("location", "read"))))


async def _polls(case: Case, _number: int) -> Sequence[Asked]:
    return await _recorded(PostgresPolls(_Recorder()).page(_access(case, rule("poll", "read")), limit=20))


async def _weather(case: Case, _number: int) -> Sequence[Asked]:
    """Of the trip; the weather itself is in memory."""
    return await _recorded(PostgresDestinations(_Recorder()).get(_access(case, rule("trip", "read"))))


async def _suggest(_case: Case, number: int) -> Sequence[Asked]:
    places = PostgresGazetteer(_Recorder())
    return await _recorded(
        places.suggest(LETTERS[number % len(LETTERS)], near=Coordinates(41.15, -8.61), limit=DEFAULT_PLACES)
    )


async def _vote(case: Case, number: int) -> Sequence[Asked]:
    access = _access(case, rule("poll", "vote"))
    command = Command(access.trip_id, access.caller, access.rule, EventId(uuid7()), datetime.now(UTC))
    option = PollOptionId(UUID(case.options[number % len(case.options)]))
    return await _recorded(PostgresPolls(_Recorder()).vote(command, PollId(UUID(case.poll)), option))


async def _todo(case: Case, _number: int) -> Sequence[Asked]:
    now = datetime.now(UTC)
    access = _access(case, rule("todo", "create"))
    todo = Todo(
        TodoId(uuid7()), access.trip_id, "pack for the driver", TodoStatus.INCOMPLETE, access.caller, now, now
    )
    added = PostgresTodos(_Recorder()).add(
        todo, access.rule, EventId(uuid7()), now=now, fingerprint=secrets.token_bytes(32)
    )
    return await _recorded(added)


async def _chat(case: Case, _number: int) -> Sequence[Asked]:
    access = _access(case, rule("chat", "create"))
    message = NewMessage(
        MessageId(uuid7()), access.trip_id, access.caller, "on my way, the driver", None, (), EventId(uuid7()),
        datetime.now(UTC), secrets.token_bytes(32),
    )  # fmt: skip
    return await _recorded(PostgresChat(_Recorder(), NO_OUTBOX).add(message, access.rule))


async def _receipt(case: Case, number: int) -> Sequence[Asked]:
    access = _access(case, rule("chat", "read"))
    command = Command(access.trip_id, access.caller, access.rule, EventId(uuid7()), datetime.now(UTC))
    return await _recorded(PostgresChat(_Recorder(), NO_OUTBOX).mark_read(command, _message(case, number)))


async def _reaction(case: Case, number: int) -> Sequence[Asked]:
    access = _access(case, rule("chat", "react"))
    reaction = Reaction(_message(case, number), access.trip_id, access.caller, "👍", datetime.now(UTC))
    chat = PostgresChat(_Recorder(), NO_OUTBOX)
    return await _recorded(chat.add_reaction(reaction, access.rule, EventId(uuid7())))


async def _position(case: Case, _number: int) -> Sequence[Asked]:
    return await _report(case, 1)


async def _positions(case: Case, _number: int) -> Sequence[Asked]:
    return await _report(case, POSITIONS)


async def _report(case: Case, count: int) -> Sequence[Asked]:
    now = datetime.now(UTC)
    access = _access(case, rule("location", "create"))
    points = [
        Point(41.14 + index % 10 / 1e6, -8.61, now - timedelta(seconds=2 * (count - index)), Privacy.PRECISE, 8.0)
        for index in range(count)
    ]
    report = Report(access.trip_id, access.caller, points, frozenset(), None, None, EventId(uuid7()), now)
    return await _recorded(PostgresPositions(_Recorder()).accept(report, access.rule))


async def _login(case: Case, _number: int) -> Sequence[Asked]:
    now = datetime.now(UTC)
    session = {
        "id": uuid7(),
        "user_id": UUID(case.user_id),
        "user_agent": "",
        "now": now,
        "expires_at": now + timedelta(days=30),
        "hash": secrets.token_bytes(32),
    }
    accounts = PostgresAccounts(_Recorder(), cast(Passwords, None))
    found = await _recorded(accounts.find(case.login, now=now))
    return *found, _asked(statements("sessions")["open"], **session)


def _access(case: Case, allowed: Rule) -> Access:
    return Access(TripId(UUID(case.trip_id)), UserId(UUID(case.user_id)), allowed)


def _message(case: Case, number: int) -> MessageId:
    return MessageId(UUID(case.messages[number % len(case.messages)]))


WORK: dict[str, Work] = {
    "trips": _trips,
    "trip": _trip,
    "notifications": _notifications,
    "messages": _messages,
    "locations": _locations,
    "polls": _polls,
    "weather": _weather,
    "suggest": _suggest,
    "vote": _vote,
    "todo": _todo,
    "chat": _chat,
    "receipt": _receipt,
    "reaction": _reaction,
    "position": _position,
    "positions": _positions,
    "login": _login,
}


async def _prepared(
    kind: str, cases: Sequence[Case], count: int
) -> Iterator[Sequence[tuple[str, Sequence[object]]]]:
    """The texts and parameters of `count` requests; each kind goes through all cases in turn."""
    names = cycle(in_turn(weights(kind)))
    numbers = dict.fromkeys(weights(kind), 0)
    requests = []
    for _ in range(count):
        name = next(names)
        passes, index = divmod(numbers[name], len(cases))
        numbers[name] += 1
        asked = await WORK[name](cases[index], passes)
        requests.append([(one.statement.text, one.parameters) for one in asked])
    return iter(requests)


async def run(
    kind: str, connections: int, seconds: float, cases: list[Case], connect: dict[str, Any], postgres_pid: int
) -> Sample:
    """CPU is that of this process and of PostgreSQL."""
    opened = [await asyncpg.connect(**connect) for _ in range(connections)]
    waiting = await _prepared(kind, cases, int(MAX_PER_S.get(kind, 8_000) * (WARM_UP_S + seconds)))
    times_ms: list[float] = []

    async def ask(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        for statements_of_request in waiting:
            asked_s = time.perf_counter()
            for text, arguments in statements_of_request:
                await connection.fetch(text, *arguments)
            done_s = time.perf_counter()
            times_ms.append((done_s - asked_s) * 1000)
            if done_s > until_s:
                return

    until_s = time.perf_counter() + WARM_UP_S  # each connection prepares its statements
    await asyncio.gather(*(ask(connection) for connection in opened))
    times_ms.clear()
    began_s, cpu_s, postgres_s = time.perf_counter(), time.process_time(), tree_cpu_seconds(postgres_pid)
    until_s = began_s + seconds
    await asyncio.gather(*(ask(connection) for connection in opened))
    took_s, used_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    postgres_used_s = tree_cpu_seconds(postgres_pid) - postgres_s
    for connection in opened:
        await connection.close()
    times_ms.sort()
    done = len(times_ms)
    return Sample(
        done / took_s,
        used_s / done * 1e6,
        times_ms[done // 2],
        times_ms[done * 99 // 100],
        postgres_used_s / done * 1e6,
    )


def stdin(cases: Sequence[Case], connect: dict[str, Any], postgres_pid: int) -> str:
    """The text for the command's standard input."""
    return json.dumps({"cases": [asdict(case) for case in cases], "connect": connect, "postgres_pid": postgres_pid})


def main(arguments: Sequence[str]) -> None:
    kind, connections, seconds = arguments
    given = json.load(sys.stdin)
    cases = [Case(**case) for case in given["cases"]]
    sample = uvloop.run(run(kind, int(connections), float(seconds), cases, given["connect"], given["postgres_pid"]))
    print(json.dumps(asdict(sample)))


if __name__ == "__main__":
    main(sys.argv[1:])
