"""From the outbox to sockets and queues: what is delivered, in which order, and what an outage costs."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import pytest

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.outbox import PostgresEventLog, PostgresOutbox
from nomadcrew.adapters.postgres.sql import Row, Sql, Statement, compile_statement
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import NOTIFICATIONS, Audience
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.hosts.machine.http.metrics import Metrics
from nomadcrew.hosts.machine.outbox_relay import Relay
from nomadcrew.hosts.machine.sockets.hub import Hub
from tests.contract.crew import Crew
from tests.fakes import NOON, SetClock
from tests.sockets import Seat

_TELL = compile_statement(
    "tell",
    """INSERT INTO outbox (id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload)
       VALUES (:id::uuid, :type::text, 'test', :trip_id::uuid, NULL, :recipient_id::uuid, :audience::text,
               :now::timestamptz, '{}')""",
)
_JOBS = compile_statement("jobs", "SELECT queue, count(*) AS count FROM queue_jobs GROUP BY queue")


class Outage:
    """`Sql` whose database goes away at the end of a transaction, as often as `due` says.

    `kept` is whether the transaction was committed all the same and only the answer was lost.
    """

    def __init__(self, pool: Sql, *, kept: bool, due: int = 1) -> None:
        self._pool = pool
        self._kept = kept
        self.due = due

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        return await self._pool.fetch(statement, **params)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._pool.transaction():
            yield
            self._fail(when=not self._kept)
        self._fail(when=self._kept)

    def in_transaction(self) -> bool:
        return self._pool.in_transaction()

    def _fail(self, *, when: bool) -> None:
        if when and self.due:
            self.due -= 1
            raise Unavailable


class Stage:
    """A crew of two on a trip, a relay, and what ben hears on his socket."""

    def __init__(self, pool: Sql, crew: Crew, ben: UserId, trip_id: TripId, sql: Sql | None = None) -> None:
        self.pool, self.crew, self.ben, self.trip_id = pool, crew, ben, trip_id
        self.hub = Hub()
        self.rung: list[str] = []
        self.seat = Seat(ben)
        self.hub.add(self.seat.socket)
        self.relay = Relay(
            PostgresOutbox(sql or pool), self.hub, clock=SetClock(), metrics=Metrics(), on_work=self._ring
        )

    def _ring(self, queues: Iterable[str]) -> None:
        self.rung += list(queues)

    async def tell(self, type_: str = "TODO_CREATED", *, audience: Audience = Audience.TRIP) -> EventId:
        """Something happens on the trip."""
        event_id = EventId(uuid7())
        recipient = self.ben if audience == Audience.USER else None
        await self.pool.fetch(
            _TELL,
            id=event_id,
            type=type_,
            trip_id=self.trip_id,
            recipient_id=recipient,
            audience=audience,
            now=NOON,
        )
        return event_id

    def heard(self) -> list[UUID]:
        """The ids of the events ben was sent since the last look."""
        return [UUID(json.loads(frame)["payload"]["id"]) for frame in self.seat.heard() if isinstance(frame, str)]

    async def record(self, after: UUID | None = None) -> list[UUID]:
        page = await PostgresEventLog(self.pool).after(self.ben, after, now=NOON, limit=100)
        return [event.id for event in page.events]


@pytest.fixture
def crew(pool: Database) -> Crew:
    """Only the one-machine host relays, and it speaks to PostgreSQL itself."""
    return Crew(pool)


async def staged(crew: Crew, sql: Sql | None = None) -> Stage:
    """A stage whose own beginnings are published already, and heard by nobody."""
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip_id = await crew.trip(ana)
    await crew.join(trip_id, ben, ana)
    stage = Stage(crew.pool, crew, ben, trip_id, sql)
    quiet = Relay(PostgresOutbox(crew.pool), Hub(), clock=SetClock(), metrics=Metrics(), on_work=lambda _: None)
    await quiet.drain()
    return stage


async def test_events_are_delivered_once_each_in_the_order_of_the_record(crew: Crew) -> None:
    stage = await staged(crew)
    told = [await stage.tell() for _ in range(5)]
    assert await stage.relay.drain() == 5
    assert await stage.relay.drain() == 0
    assert stage.heard() == told
    assert (await stage.record())[-5:] == told


async def test_consumers_get_a_job_for_each_event_they_wait_for(crew: Crew) -> None:
    stage = await staged(crew)
    [before] = await crew.pool.fetch(_JOBS)
    await stage.tell("TRIP_UPDATED")
    await stage.tell("TODO_CREATED")
    await stage.relay.drain()
    [after] = await crew.pool.fetch(_JOBS)
    assert after["count"] == before["count"] + 1
    assert stage.rung == [NOTIFICATIONS]


async def test_internal_events_reach_no_socket(crew: Crew) -> None:
    stage = await staged(crew)
    await stage.tell("invitation.declined", audience=Audience.INTERNAL)
    assert await stage.relay.drain() == 1
    assert stage.heard() == []


async def test_a_muted_trip_is_silent_but_for_what_is_addressed_to_the_person(crew: Crew) -> None:
    stage = await staged(crew)
    stage.seat.socket.muted |= {stage.trip_id}
    await stage.tell()
    notification = await stage.tell("notification.created", audience=Audience.USER)
    await stage.relay.drain()
    assert stage.heard() == [notification]


async def test_whoever_left_is_told_that_and_nothing_after(crew: Crew) -> None:
    stage = await staged(crew)
    await crew.leave(stage.trip_id, stage.ben, stage.ben)
    await stage.tell()
    await stage.relay.drain()
    assert len(stage.heard()) == 1


@pytest.mark.parametrize("kept", [True, False], ids=["the answer is lost", "the commit is lost"])
async def test_an_outage_while_publishing_loses_and_repeats_nothing(crew: Crew, kept: bool) -> None:
    stage = await staged(crew, Outage(crew.pool, kept=kept))
    first = await stage.tell()
    with pytest.raises(Unavailable):
        await stage.relay.drain()
    second = await stage.tell()
    await stage.relay.drain()
    assert stage.heard() == [first, second]
    assert (await stage.record())[-2:] == [first, second]
    await stage.relay.drain()
    assert stage.heard() == []


@pytest.mark.parametrize("kept", [True, False], ids=["the answer is lost", "the commit is lost"])
async def test_outages_in_a_row_lose_nothing(crew: Crew, kept: bool) -> None:
    stage = await staged(crew, Outage(crew.pool, kept=kept, due=3))
    told = []
    for _ in range(3):
        told.append(await stage.tell())
        with suppress(Unavailable):
            await stage.relay.drain()
    while await stage.relay.drain():
        pass
    assert sorted(stage.heard()) == sorted(told)


@pytest.mark.parametrize("kept", [True, False], ids=["the answer is lost", "the commit is lost"])
async def test_a_client_that_continues_from_the_last_event_it_heard_misses_nothing(crew: Crew, kept: bool) -> None:
    """An event that entered first and became visible last must not take a place before one already heard."""
    stage = await staged(crew, Outage(crew.pool, kept=kept))
    start = (await stage.record())[-1]
    written, go = asyncio.Event(), asyncio.Event()

    async def slow_write() -> EventId:
        async with crew.pool.transaction():
            event_id = await stage.tell()
            written.set()
            await go.wait()
        return event_id

    slow = asyncio.create_task(slow_write())
    await written.wait()
    early = await stage.tell()
    with pytest.raises(Unavailable):
        await stage.relay.drain()
    heard = stage.heard()
    go.set()
    late = await slow
    # Here the host dies, and with it every socket; the next one publishes what is left.
    next_host = Relay(PostgresOutbox(crew.pool), Hub(), clock=SetClock(), metrics=Metrics(), on_work=lambda _: None)
    # What the lost transaction had locked is passed over until the server has ended it.
    async with asyncio.timeout(10):
        while (await PostgresOutbox(crew.pool).lag(now=NOON)).pending:
            await next_host.drain()
    missed = await stage.record([start, *heard][-1])
    assert {*heard, *missed} == {late, early}
