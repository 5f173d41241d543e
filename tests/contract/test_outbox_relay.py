"""From the outbox to sockets and queues: deliveries, their order, and outages."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from enum import StrEnum
from functools import partial
from uuid import UUID

import pytest

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.outbox import PostgresEventLog, PostgresOutbox
from nomadcrew.adapters.postgres.sql import Row, Sql, Statement, compile_statement
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import NOTIFICATIONS, WEBHOOKS, Audience, Event
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.hosts.machine.http.metrics import Metrics
from nomadcrew.hosts.machine.outbox_relay import Relay
from nomadcrew.hosts.machine.sockets.hub import Hub
from tests.contract.trip_database import TripDb
from tests.fake_sockets import FakeSocket
from tests.fakes import NOON, SetClock

_WRITE = compile_statement(
    "tell",
    """INSERT INTO outbox (id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload)
       VALUES (:id::uuid, :type::text, 'test', :trip_id::uuid, :actor_id::uuid, :recipient_id::uuid,
               :audience::text, :now::timestamptz, '{}')""",
)
_LOCK = compile_statement("lock", "SELECT pg_advisory_xact_lock(7206032)")
_JOBS = compile_statement("jobs", "SELECT queue, count(*) AS count FROM queue_jobs GROUP BY queue")


class Loss(StrEnum):
    """The part of a publication that an outage swallows."""

    REPLY = "the reply is lost"
    COMMIT = "the commit is lost"
    LATE = "the statement is executed later"


class Outage:
    """`Sql` with `due` outages of the statement that publishes."""

    def __init__(self, pool: Sql, loss: Loss, *, due: int = 1) -> None:
        self._pool = pool
        self._loss = loss
        self.due = due
        self._late: list[Callable[[], Awaitable[Sequence[Row]]]] = []

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        if statement.name != "publish" or not self.due:
            return await self._pool.fetch(statement, **params)
        self.due -= 1
        if self._loss is Loss.REPLY:
            await self._pool.fetch(statement, **params)
        elif self._loss is Loss.COMMIT:
            async with self._pool.transaction():
                await self._pool.fetch(statement, **params)
                raise Unavailable
        else:
            self._late.append(partial(self._pool.fetch, statement, **params))
        raise Unavailable

    async def execute_late_statements(self) -> None:
        for run in self._late:
            await run()

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return self._pool.transaction()

    def in_transaction(self) -> bool:
        return self._pool.in_transaction()


class RelayScenario:
    """Two members of a trip, a relay, and ben's socket."""

    def __init__(self, pool: Sql, db: TripDb, ben: UserId, trip_id: TripId, sql: Sql | None = None) -> None:
        self.pool, self.db, self.ben, self.trip_id = pool, db, ben, trip_id
        self.hub = Hub()
        self.woken_queues: list[str] = []
        self.socket = FakeSocket(ben)
        self.hub.add(self.socket.socket)
        self.passing: list[EventId] = []
        self.relay = Relay(
            PostgresOutbox(sql or pool), self.hub, clock=SetClock(), metrics=Metrics(), on_work=self._wake,
            on_event=self._before, on_passing=lambda event: self.passing.append(event.id),
        )  # fmt: skip
        self.fail_at: EventId | None = None

    def _before(self, event: Event) -> None:
        if event.id == self.fail_at:
            raise RuntimeError

    def _wake(self, queues: Iterable[str]) -> None:
        self.woken_queues += list(queues)

    async def write(
        self, type_: str = "TODO_CREATED", *, audience: Audience = Audience.TRIP, actor: UserId | None = None
    ) -> EventId:
        """Write an event of the trip."""
        event_id = EventId(uuid7())
        recipient = self.ben if audience == Audience.USER else None
        await self.pool.fetch(
            _WRITE,
            id=event_id,
            type=type_,
            trip_id=self.trip_id,
            actor_id=actor,
            recipient_id=recipient,
            audience=audience,
            now=NOON,
        )
        return event_id

    def received(self) -> list[UUID]:
        """The ids of the events on ben's socket since the last call."""
        return [
            UUID(json.loads(frame)["payload"]["id"]) for frame in self.socket.received() if isinstance(frame, str)
        ]

    async def stored_events(self, after: UUID | None = None) -> list[UUID]:
        page = await PostgresEventLog(self.pool).after(self.ben, after, now=NOON, limit=100)
        return [event.id for event in page.events]


@pytest.fixture
def db(pool: Database) -> TripDb:
    """Only the machine host has a relay, and it uses PostgreSQL directly."""
    return TripDb(pool)


async def prepare(db: TripDb, sql: Sql | None = None) -> RelayScenario:
    """A scenario whose setup events are published already."""
    ana, ben = await db.user("ana"), await db.user("ben")
    trip_id = await db.trip(ana)
    await db.join(trip_id, ben, ana)
    scenario = RelayScenario(db.pool, db, ben, trip_id, sql)
    quiet = Relay(PostgresOutbox(db.pool), Hub(), clock=SetClock(), metrics=Metrics(), on_work=lambda _: None)
    await quiet.drain()
    return scenario


async def test_events_are_delivered_once_in_the_stored_order(db: TripDb) -> None:
    scenario = await prepare(db)
    event_ids = [await scenario.write() for _ in range(5)]
    assert await scenario.relay.drain() == 5
    assert await scenario.relay.drain() == 0
    assert scenario.received() == event_ids
    assert (await scenario.stored_events())[-5:] == event_ids


async def test_consumers_get_a_job_per_event_they_process(db: TripDb) -> None:
    scenario = await prepare(db)
    [before] = await db.pool.fetch(_JOBS)
    await scenario.write("TRIP_UPDATED")
    await scenario.write("TODO_CREATED")
    await scenario.relay.drain()
    [after] = await db.pool.fetch(_JOBS)
    assert after["count"] == before["count"] + 1
    assert scenario.woken_queues == [NOTIFICATIONS]


async def test_a_passing_event_is_notified_where_another_member_has_a_socket(db: TripDb) -> None:
    scenario = await prepare(db)
    event_id = await scenario.write("CHAT_MESSAGE_SENT")
    by_ben = await scenario.write("CHAT_MESSAGE_SENT", actor=scenario.ben)
    await scenario.relay.drain()
    assert scenario.received() == [event_id, by_ben]
    assert (scenario.passing, scenario.woken_queues) == ([event_id], [])
    scenario.hub.remove(scenario.socket.socket)
    await scenario.write("CHAT_MESSAGE_SENT")
    await scenario.relay.drain()
    assert scenario.passing == [event_id]


async def test_internal_events_reach_no_socket(db: TripDb) -> None:
    scenario = await prepare(db)
    await scenario.write("invitation.declined", audience=Audience.INTERNAL)
    assert await scenario.relay.drain() == 1
    assert scenario.received() == []


async def test_a_muted_trip_broadcasts_only_events_addressed_to_the_user(db: TripDb) -> None:
    scenario = await prepare(db)
    scenario.socket.socket.muted |= {scenario.trip_id}
    await scenario.write()
    notification = await scenario.write("notification.created", audience=Audience.USER)
    await scenario.relay.drain()
    assert scenario.received() == [notification]


async def test_a_leaver_gets_the_removal_and_no_later_event(db: TripDb) -> None:
    scenario = await prepare(db)
    await db.leave(scenario.trip_id, scenario.ben, scenario.ben)
    await scenario.write()
    await scenario.relay.drain()
    assert len(scenario.received()) == 1


@pytest.mark.parametrize("loss", Loss)
async def test_an_outage_while_publishing_loses_and_repeats_nothing(db: TripDb, loss: Loss) -> None:
    scenario = await prepare(db, Outage(db.pool, loss))
    first = await scenario.write()
    with pytest.raises(Unavailable):
        await scenario.relay.drain()
    second = await scenario.write()
    await scenario.relay.drain()
    assert scenario.received() == [first, second]
    assert (await scenario.stored_events())[-2:] == [first, second]
    await scenario.relay.drain()
    assert scenario.received() == []


async def test_events_of_a_lost_reply_are_sent_without_a_further_event(db: TripDb) -> None:
    scenario = await prepare(db, Outage(db.pool, Loss.REPLY))
    event_id = await scenario.write("TRIP_UPDATED")
    with pytest.raises(Unavailable):
        await scenario.relay.drain()
    await scenario.relay.drain()
    assert scenario.received() == [event_id]
    assert sorted(scenario.woken_queues) == [NOTIFICATIONS, WEBHOOKS]


async def test_a_statement_that_is_executed_after_the_outage_is_noticed_at_the_next_event(db: TripDb) -> None:
    outage = Outage(db.pool, Loss.LATE)
    scenario = await prepare(db, outage)
    with pytest.raises(Unavailable):
        await scenario.relay.drain()
    await scenario.relay.drain()
    early = await scenario.write()
    await outage.execute_late_statements()
    late = await scenario.write()
    await scenario.relay.drain()
    assert scenario.received() == [early, late]


async def test_a_running_statement_is_waited_for_after_an_outage(db: TripDb) -> None:
    scenario = await prepare(db, Outage(db.pool, Loss.LATE))
    with pytest.raises(Unavailable):
        await scenario.relay.drain()
    event_id = await scenario.write()
    published, go = asyncio.Event(), asyncio.Event()

    async def still_running() -> None:
        async with db.pool.transaction():
            await PostgresOutbox(db.pool).publish(limit=10, now=NOON)
            published.set()
            await go.wait()

    running = asyncio.create_task(still_running())
    await published.wait()
    drain = asyncio.create_task(scenario.relay.drain())
    await asyncio.wait({drain}, timeout=0.2)
    go.set()
    await asyncio.gather(running, drain)
    assert scenario.received() == [event_id]


async def test_a_socket_that_opens_during_a_publication_receives_it(db: TripDb) -> None:
    scenario = await prepare(db)
    scenario.hub.remove(scenario.socket.socket)
    event_id = await scenario.write()
    written, go = asyncio.Event(), asyncio.Event()

    async def hold_the_lock() -> None:
        async with db.pool.transaction():
            await db.pool.fetch(_LOCK)
            written.set()
            await go.wait()

    holder = asyncio.create_task(hold_the_lock())
    await written.wait()
    drain = asyncio.create_task(scenario.relay.drain())
    await asyncio.wait({drain}, timeout=0.2)
    scenario.hub.add(scenario.socket.socket)
    go.set()
    await asyncio.gather(holder, drain)
    assert scenario.received() == [event_id]


async def test_a_failure_to_send_one_event_does_not_stop_the_others(db: TripDb) -> None:
    scenario = await prepare(db)
    event_ids = [await scenario.write() for _ in range(3)]
    scenario.fail_at = event_ids[1]
    with pytest.raises(RuntimeError):
        await scenario.relay.drain()
    await scenario.relay.drain()
    assert scenario.received() == [event_ids[0], event_ids[2]]


@pytest.mark.parametrize("loss", [Loss.REPLY, Loss.COMMIT])
async def test_repeated_outages_lose_nothing(db: TripDb, loss: Loss) -> None:
    scenario = await prepare(db, Outage(db.pool, loss, due=3))
    event_ids = []
    for _ in range(3):
        event_ids.append(await scenario.write())
        with suppress(Unavailable):
            await scenario.relay.drain()
    while await scenario.relay.drain():
        pass
    assert sorted(scenario.received()) == sorted(event_ids)


@pytest.mark.parametrize("loss", Loss)
async def test_a_client_that_continues_from_its_last_event_misses_nothing(db: TripDb, loss: Loss) -> None:
    """An event that was inserted first and committed last must not get a position before a delivered event."""
    scenario = await prepare(db, Outage(db.pool, loss))
    start = (await scenario.stored_events())[-1]
    written, go = asyncio.Event(), asyncio.Event()

    async def slow_write() -> EventId:
        async with db.pool.transaction():
            event_id = await scenario.write()
            written.set()
            await go.wait()
        return event_id

    slow = asyncio.create_task(slow_write())
    await written.wait()
    early = await scenario.write()
    with pytest.raises(Unavailable):
        await scenario.relay.drain()
    received = scenario.received()
    go.set()
    late = await slow
    # The host crashes here with every socket; the next host publishes the rest.
    next_host = Relay(PostgresOutbox(db.pool), Hub(), clock=SetClock(), metrics=Metrics(), on_work=lambda _: None)
    # Rows locked by the lost transaction are skipped until the server has ended it.
    async with asyncio.timeout(10):
        while (await PostgresOutbox(db.pool).lag(now=NOON)).pending:
            await next_host.drain()
    missed = await scenario.stored_events([start, *received][-1])
    assert {*received, *missed} == {late, early}
