"""Publication on AWS: after any crash or refusal, each event has one ordered position and is sent at least once."""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from nomadcrew.adapters.aws.outbox import BATCH, PATIENCE, PROBE_DELAY_S, ROUNDS, EventBridgeOutbox
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.aws.sdk.services import EVENTS, SQS
from nomadcrew.adapters.postgres.outbox import PostgresEventLog, PostgresOutbox
from nomadcrew.adapters.postgres.retention import PostgresRetention
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Audience
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.wire.events import unpack
from tests.contract.cloud import Cloud
from tests.contract.trip_database import TripDb
from tests.fakes import NOON, SetClock

_WRITE = compile_statement(
    "tell",
    """INSERT INTO outbox (id, type, source, trip_id, recipient_id, audience, occurred_at, payload)
       VALUES (:id::uuid, :type::text, :source::text, :trip_id::uuid, :to::uuid, :audience::text,
               :now::timestamptz, jsonb_build_object('text', repeat('x', :size::int)))""",
)
_POSITIONS = compile_statement(
    "places", "SELECT id, position FROM outbox WHERE position IS NOT NULL ORDER BY position"
)
_UNSENT = compile_statement("unsent", "SELECT id FROM outbox WHERE unsent_since IS NOT NULL")


class FaultyBus:
    """A faulty EventBridge client: `fail` drops calls, `lose` drops replies, `refuse` rejects entries of a type."""

    def __init__(self, real: AwsClient) -> None:
        self._real = real
        self.fail = 0
        self.lose = 0
        self.refuse = ""
        self.error: Exception = Unavailable(details="events")

    async def call(self, operation: str, body: Mapping[str, Any], **_: object) -> dict[str, Any]:
        if self.fail:
            self.fail -= 1
            raise self.error
        accepted = [entry for entry in body["Entries"] if not self.refuse or self.refuse not in entry["DetailType"]]
        if accepted:
            await self._real.call(operation, {"Entries": accepted})
        if self.lose:
            self.lose -= 1
            raise self.error
        return {
            "Entries": [
                {"EventId": "1"} if entry in accepted else {"ErrorCode": "InternalFailure"}
                for entry in body["Entries"]
            ]
        }


class BusScenario:
    """A trip database, a bus and publishers for it."""

    def __init__(self, cloud: Cloud, db: TripDb, bus: str, received_url: str, probe_url: str) -> None:
        self.cloud, self.db, self.pool = cloud, db, db.pool
        self.clock = SetClock()
        self.bus = FaultyBus(cloud.client(EVENTS))
        self._bus_name, self._received_url, self._probe_url = bus, received_url, probe_url
        self.outbox = self.publisher()

    def publisher(self, bus: FaultyBus | None = None) -> EventBridgeOutbox:
        """A publisher of another process."""
        return EventBridgeOutbox(
            PostgresOutbox(self.pool), bus or self.bus, self.cloud.client(SQS),  # type: ignore[arg-type]
            bus=self._bus_name, probe_url=self._probe_url, clock=self.clock,
        )  # fmt: skip

    async def write(
        self, type_: str = "TODO_CREATED", *, trip_id: TripId | None = None, to: UserId | None = None, size: int = 1
    ) -> EventId:
        event_id = EventId(uuid7())
        await self.pool.fetch(
            _WRITE, id=event_id, type=type_, source="todo_model", trip_id=trip_id, to=to, now=self.clock.now,
            size=size, audience=Audience.USER if to else Audience.TRIP,
        )  # fmt: skip
        return event_id

    async def received(self) -> list[EventId]:
        return [unpack(body).id for body in await self.envelopes()]

    async def envelopes(self) -> list[str]:
        return await self.cloud.messages(self._received_url)

    async def probes(self) -> int:
        """Receive the due probes and return their number."""
        self.cloud.advance(PROBE_DELAY_S)
        return len(await self.cloud.messages(self._probe_url))

    async def ordered(self) -> list[EventId]:
        return [row["id"] for row in await self.pool.fetch(_POSITIONS)]

    async def unsent(self) -> list[EventId]:
        return [row["id"] for row in await self.pool.fetch(_UNSENT)]


@pytest_asyncio.fixture(loop_scope="session")
async def scenario(cloud: Cloud, db: TripDb) -> BusScenario:
    return BusScenario(cloud, db, *await cloud.bus(), await cloud.queue())


async def test_an_event_is_on_the_bus_after_the_commit(scenario: BusScenario) -> None:
    scenario.outbox.before_write()
    event_id = await scenario.write("MEMBER_ROLE_UPDATED")
    await scenario.outbox.after_commit()
    [body] = await scenario.envelopes()
    envelope = json.loads(body)
    assert (envelope["source"], envelope["detail-type"]) == ("nomadcrew.todos", "Member Role Updated")
    assert unpack(body) == unpack(json.dumps(envelope["detail"]))
    assert unpack(body).id == event_id
    assert (await scenario.ordered(), await scenario.unsent()) == ([event_id], [])


async def test_events_are_sent_in_the_order_of_their_positions(scenario: BusScenario) -> None:
    event_ids = [await scenario.write() for _ in range(2 * BATCH + 7)]
    await scenario.outbox.after_commit()
    assert await scenario.ordered() == event_ids
    assert await scenario.received() == event_ids


async def test_one_request_publishes_a_limited_part_of_a_backlog(scenario: BusScenario) -> None:
    event_ids = [await scenario.write() for _ in range(ROUNDS * BATCH + 3)]
    await scenario.outbox.after_commit()
    assert len(await scenario.ordered()) == ROUNDS * BATCH
    assert await scenario.outbox.sweep() == 3
    assert await scenario.ordered() == event_ids


async def test_large_events_are_split_over_several_calls(scenario: BusScenario) -> None:
    event_ids = [await scenario.write(size=60_000) for _ in range(7)]
    await scenario.outbox.after_commit()
    assert await scenario.received() == event_ids


async def test_a_probe_publishes_an_event_after_a_crash(scenario: BusScenario) -> None:
    scenario.outbox.before_write()
    await asyncio.sleep(0)
    event_id = await scenario.write()
    assert scenario.outbox._probing is not None
    await scenario.outbox._probing  # the call that began before the crash
    assert await scenario.ordered() == []
    assert await scenario.probes() == 1
    assert await scenario.publisher().sweep() == 1
    assert await scenario.received() == [event_id]


@pytest.mark.parametrize("lost", [False, True], ids=["before the bus accepted it", "after"])
async def test_an_event_that_may_not_have_been_sent_is_sent_again(scenario: BusScenario, lost: bool) -> None:
    """As after a crash between assigning a position and recording that the bus accepted the event."""
    scenario.bus.fail, scenario.bus.lose = (0, 1) if lost else (1, 0)
    event_id = await scenario.write()
    await scenario.outbox.after_commit()
    assert await scenario.unsent() == [event_id]
    assert await scenario.publisher().sweep() == 0  # another publisher may still be at work
    assert await scenario.probes() == 1  # so a probe is sent for later
    scenario.clock.advance(PATIENCE.total_seconds())
    assert await scenario.publisher().sweep() == 1
    assert set(await scenario.received()) == {event_id}
    assert (await scenario.ordered(), await scenario.unsent()) == ([event_id], [])
    assert await scenario.probes() == 0


async def test_a_refusal_of_the_bus_affects_the_refused_event_only(scenario: BusScenario) -> None:
    scenario.bus.refuse = "Trip"
    first, refused, last = await scenario.write(), await scenario.write("TRIP_UPDATED"), await scenario.write()
    await scenario.outbox.after_commit()
    assert await scenario.received() == [first, last]
    assert await scenario.unsent() == [refused]
    scenario.clock.advance(PATIENCE.total_seconds())
    with pytest.raises(Unavailable):
        await scenario.outbox.sweep()
    scenario.bus.refuse = ""
    scenario.clock.advance(PATIENCE.total_seconds())
    assert await scenario.outbox.sweep() == 1
    assert await scenario.received() == [refused]
    assert await scenario.ordered() == [first, refused, last]


@pytest.mark.parametrize(
    "error", [Unavailable(), AwsError("AccessDeniedException", 400, "", {})], ids=["away", "no"]
)
async def test_an_outage_of_the_bus_fails_no_request(scenario: BusScenario, error: Exception) -> None:
    scenario.bus.fail, scenario.bus.error = 1, error
    event_id = await scenario.write()
    await scenario.outbox.after_commit()
    scenario.bus.fail = 1
    scenario.clock.advance(PATIENCE.total_seconds())
    with pytest.raises(type(error)):
        await scenario.outbox.sweep()
    scenario.clock.advance(PATIENCE.total_seconds())
    await scenario.outbox.sweep()
    assert await scenario.received() == [event_id]


async def test_concurrent_publishers_send_every_event_once_with_one_position(scenario: BusScenario) -> None:
    async def publish(publisher: EventBridgeOutbox) -> list[EventId]:
        event_ids = []
        for _ in range(15):
            publisher.before_write()
            event_ids.append(await scenario.write())
            await publisher.after_commit()
        return event_ids

    shares = await asyncio.gather(*(publish(scenario.publisher()) for _ in range(4)))
    event_ids = {event_id for share in shares for event_id in share}
    received = await scenario.received()
    assert (len(received), set(received)) == (60, event_ids)
    ordered = await scenario.ordered()
    assert (len(ordered), set(ordered)) == (60, event_ids)
    assert await scenario.unsent() == []


async def test_concurrent_sweeps_do_not_send_twice(scenario: BusScenario) -> None:
    scenario.bus.fail = 1
    event_ids = [await scenario.write() for _ in range(5)]
    await scenario.outbox.after_commit()
    scenario.clock.advance(PATIENCE.total_seconds())
    assert sum(await asyncio.gather(*(scenario.publisher().sweep() for _ in range(3)))) == 5
    assert sorted(await scenario.received()) == sorted(event_ids)


async def test_stored_events_are_read_in_order_regardless_of_the_bus(scenario: BusScenario) -> None:
    ana = await scenario.db.user("ana")
    first = await scenario.write(to=ana)
    scenario.bus.fail = 1
    await scenario.outbox.after_commit()
    second = await scenario.write(to=ana)
    await scenario.publisher().after_commit()
    scenario.clock.advance(PATIENCE.total_seconds())
    await scenario.outbox.sweep()
    assert await scenario.received() == [second, first]
    page = await PostgresEventLog(scenario.pool).after(ana, None, now=NOON, limit=10)
    assert [event.id for event in page.events] == [first, second]


async def test_writes_within_a_short_time_share_one_probe_after_the_last(scenario: BusScenario) -> None:
    for _ in range(5):
        scenario.outbox.before_write()
        await scenario.outbox.after_commit()
        scenario.clock.advance(1)
    assert await scenario.probes() == 1
    scenario.clock.advance(10)
    scenario.outbox.before_write()
    await scenario.outbox.after_commit()
    assert await scenario.probes() == 1


async def test_a_probe_that_cannot_be_sent_fails_no_request_and_is_sent_at_the_next(scenario: BusScenario) -> None:
    missing = EventBridgeOutbox(
        PostgresOutbox(scenario.pool), scenario.cloud.client(EVENTS), scenario.cloud.client(SQS),
        bus=scenario._bus_name, probe_url=f"{scenario._probe_url}-missing", clock=scenario.clock,
    )  # fmt: skip
    missing.before_write()
    event_id = await scenario.write()
    await missing.after_commit()
    assert await scenario.received() == [event_id]
    missing._probe_url = scenario._probe_url
    missing.before_write()
    await missing.after_commit()
    assert await scenario.probes() == 1


async def test_unsent_events_are_never_deleted(scenario: BusScenario) -> None:
    scenario.bus.fail = 1
    await scenario.write()
    await scenario.outbox.after_commit()
    assert await PostgresRetention(scenario.pool).delete_events(NOON + timedelta(days=30)) == 0
    scenario.clock.advance(PATIENCE.total_seconds())
    await scenario.outbox.sweep()
    assert await PostgresRetention(scenario.pool).delete_events(NOON + timedelta(days=30)) == 1
