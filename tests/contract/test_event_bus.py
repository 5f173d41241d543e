"""Publishing on AWS: whatever dies or refuses, every event is placed once, in order, and told at least once."""

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
from tests.contract.crew import Crew
from tests.fakes import NOON, SetClock

_TELL = compile_statement(
    "tell",
    """INSERT INTO outbox (id, type, source, trip_id, recipient_id, audience, occurred_at, payload)
       VALUES (:id::uuid, :type::text, :source::text, :trip_id::uuid, :to::uuid, :audience::text,
               :now::timestamptz, jsonb_build_object('text', repeat('x', :size::int)))""",
)
_PLACES = compile_statement(
    "places", "SELECT id, position FROM outbox WHERE position IS NOT NULL ORDER BY position"
)
_UNSENT = compile_statement("unsent", "SELECT id FROM outbox WHERE unsent_since IS NOT NULL")


class Bus:
    """A client of EventBridge that goes wrong: `fail` before the call, `lose` its answer, `refuse` a type."""

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
        kept = [entry for entry in body["Entries"] if not self.refuse or self.refuse not in entry["DetailType"]]
        if kept:
            await self._real.call(operation, {"Entries": kept})
        if self.lose:
            self.lose -= 1
            raise self.error
        return {
            "Entries": [
                {"EventId": "1"} if entry in kept else {"ErrorCode": "InternalFailure"} for entry in body["Entries"]
            ]
        }


class Newsroom:
    """A crew, and publishers that tell a bus."""

    def __init__(self, cloud: Cloud, crew: Crew, bus: str, heard_url: str, probe_url: str) -> None:
        self.cloud, self.crew, self.pool = cloud, crew, crew.pool
        self.clock = SetClock()
        self.bus = Bus(cloud.client(EVENTS))
        self._bus_name, self._heard_url, self._probe_url = bus, heard_url, probe_url
        self.outbox = self.publisher()

    def publisher(self, bus: Bus | None = None) -> EventBridgeOutbox:
        """A publisher in another process."""
        return EventBridgeOutbox(
            PostgresOutbox(self.pool), bus or self.bus, self.cloud.client(SQS),  # type: ignore[arg-type]
            bus=self._bus_name, probe_url=self._probe_url, clock=self.clock,
        )  # fmt: skip

    async def tell(
        self, type_: str = "TODO_CREATED", *, trip_id: TripId | None = None, to: UserId | None = None, size: int = 1
    ) -> EventId:
        event_id = EventId(uuid7())
        await self.pool.fetch(
            _TELL, id=event_id, type=type_, source="todo_model", trip_id=trip_id, to=to, now=self.clock.now,
            size=size, audience=Audience.USER if to else Audience.TRIP,
        )  # fmt: skip
        return event_id

    async def heard(self) -> list[EventId]:
        return [unpack(body).id for body in await self.envelopes()]

    async def envelopes(self) -> list[str]:
        return await self.cloud.messages(self._heard_url)

    async def probes(self) -> int:
        """How many probes have come due, and are taken."""
        self.cloud.advance(PROBE_DELAY_S)
        return len(await self.cloud.messages(self._probe_url))

    async def places(self) -> list[EventId]:
        return [row["id"] for row in await self.pool.fetch(_PLACES)]

    async def unsent(self) -> list[EventId]:
        return [row["id"] for row in await self.pool.fetch(_UNSENT)]


@pytest_asyncio.fixture(loop_scope="session")
async def room(cloud: Cloud, crew: Crew) -> Newsroom:
    return Newsroom(cloud, crew, *await cloud.bus(), await cloud.queue())


async def test_an_event_is_on_the_bus_as_soon_as_the_write_is_over(room: Newsroom) -> None:
    room.outbox.before_write()
    event_id = await room.tell("MEMBER_ROLE_UPDATED")
    await room.outbox.after_commit()
    [body] = await room.envelopes()
    envelope = json.loads(body)
    assert (envelope["source"], envelope["detail-type"]) == ("nomadcrew.todos", "Member Role Updated")
    assert unpack(body) == unpack(json.dumps(envelope["detail"]))
    assert unpack(body).id == event_id
    assert (await room.places(), await room.unsent()) == ([event_id], [])


async def test_events_are_told_in_the_order_of_the_record(room: Newsroom) -> None:
    told = [await room.tell() for _ in range(2 * BATCH + 7)]
    await room.outbox.after_commit()
    assert await room.places() == told
    assert await room.heard() == told


async def test_one_request_does_not_work_off_a_backlog(room: Newsroom) -> None:
    told = [await room.tell() for _ in range(ROUNDS * BATCH + 3)]
    await room.outbox.after_commit()
    assert len(await room.places()) == ROUNDS * BATCH
    assert await room.outbox.sweep() == 3
    assert await room.places() == told


async def test_large_events_go_in_several_calls(room: Newsroom) -> None:
    told = [await room.tell(size=60_000) for _ in range(7)]
    await room.outbox.after_commit()
    assert await room.heard() == told


async def test_a_crash_after_the_commit_leaves_the_event_to_the_probe(room: Newsroom) -> None:
    room.outbox.before_write()
    await asyncio.sleep(0)
    event_id = await room.tell()
    assert room.outbox._probing is not None
    await room.outbox._probing  # what was begun before the crash
    assert await room.places() == []
    assert await room.probes() == 1
    assert await room.publisher().sweep() == 1
    assert await room.heard() == [event_id]


@pytest.mark.parametrize("lost", [False, True], ids=["before the bus took it", "after"])
async def test_an_event_that_may_not_have_been_told_is_told_again(room: Newsroom, lost: bool) -> None:
    """As when the process dies between giving a place and noting that the bus knows."""
    room.bus.fail, room.bus.lose = (0, 1) if lost else (1, 0)
    event_id = await room.tell()
    await room.outbox.after_commit()
    assert await room.unsent() == [event_id]
    assert await room.publisher().sweep() == 0  # somebody may just be at it
    assert await room.probes() == 1  # so another look is taken later
    room.clock.advance(PATIENCE.total_seconds())
    assert await room.publisher().sweep() == 1
    assert set(await room.heard()) == {event_id}
    assert (await room.places(), await room.unsent()) == ([event_id], [])
    assert await room.probes() == 0


async def test_a_refusal_of_the_bus_concerns_the_refused_alone(room: Newsroom) -> None:
    room.bus.refuse = "Trip"
    first, refused, last = await room.tell(), await room.tell("TRIP_UPDATED"), await room.tell()
    await room.outbox.after_commit()
    assert await room.heard() == [first, last]
    assert await room.unsent() == [refused]
    room.clock.advance(PATIENCE.total_seconds())
    with pytest.raises(Unavailable):
        await room.outbox.sweep()
    room.bus.refuse = ""
    room.clock.advance(PATIENCE.total_seconds())
    assert await room.outbox.sweep() == 1
    assert await room.heard() == [refused]
    assert await room.places() == [first, refused, last]


@pytest.mark.parametrize(
    "error", [Unavailable(), AwsError("AccessDeniedException", 400, "", {})], ids=["away", "no"]
)
async def test_a_bus_that_cannot_be_told_fails_no_request(room: Newsroom, error: Exception) -> None:
    room.bus.fail, room.bus.error = 1, error
    event_id = await room.tell()
    await room.outbox.after_commit()
    room.bus.fail = 1
    room.clock.advance(PATIENCE.total_seconds())
    with pytest.raises(type(error)):
        await room.outbox.sweep()
    room.clock.advance(PATIENCE.total_seconds())
    await room.outbox.sweep()
    assert await room.heard() == [event_id]


async def test_two_publishers_at_once_tell_every_event_and_place_it_once(room: Newsroom) -> None:
    async def write(publisher: EventBridgeOutbox) -> list[EventId]:
        told = []
        for _ in range(15):
            publisher.before_write()
            told.append(await room.tell())
            await publisher.after_commit()
        return told

    shares = await asyncio.gather(*(write(room.publisher()) for _ in range(4)))
    told = {event_id for share in shares for event_id in share}
    heard = await room.heard()
    assert (len(heard), set(heard)) == (60, told)
    places = await room.places()
    assert (len(places), set(places)) == (60, told)
    assert await room.unsent() == []


async def test_two_sweeps_at_once_do_not_tell_twice(room: Newsroom) -> None:
    room.bus.fail = 1
    told = [await room.tell() for _ in range(5)]
    await room.outbox.after_commit()
    room.clock.advance(PATIENCE.total_seconds())
    assert sum(await asyncio.gather(*(room.publisher().sweep() for _ in range(3)))) == 5
    assert sorted(await room.heard()) == sorted(told)


async def test_the_record_is_read_in_its_order_whenever_the_bus_heard(room: Newsroom) -> None:
    ana = await room.crew.person("ana")
    first = await room.tell(to=ana)
    room.bus.fail = 1
    await room.outbox.after_commit()
    second = await room.tell(to=ana)
    await room.publisher().after_commit()
    room.clock.advance(PATIENCE.total_seconds())
    await room.outbox.sweep()
    assert await room.heard() == [second, first]
    page = await PostgresEventLog(room.pool).after(ana, None, now=NOON, limit=10)
    assert [event.id for event in page.events] == [first, second]


async def test_writes_close_together_share_a_probe_that_comes_after_the_last(room: Newsroom) -> None:
    for _ in range(5):
        room.outbox.before_write()
        await room.outbox.after_commit()
        room.clock.advance(1)
    assert await room.probes() == 1
    room.clock.advance(10)
    room.outbox.before_write()
    await room.outbox.after_commit()
    assert await room.probes() == 1


async def test_a_probe_that_cannot_be_sent_fails_no_request_and_is_tried_at_the_next(room: Newsroom) -> None:
    missing = EventBridgeOutbox(
        PostgresOutbox(room.pool), room.cloud.client(EVENTS), room.cloud.client(SQS),
        bus=room._bus_name, probe_url=f"{room._probe_url}-missing", clock=room.clock,
    )  # fmt: skip
    missing.before_write()
    event_id = await room.tell()
    await missing.after_commit()
    assert await room.heard() == [event_id]
    missing._probe_url = room._probe_url
    missing.before_write()
    await missing.after_commit()
    assert await room.probes() == 1


async def test_what_is_unsent_is_never_purged(room: Newsroom) -> None:
    room.bus.fail = 1
    await room.tell()
    await room.outbox.after_commit()
    assert await PostgresRetention(room.pool).delete_events(NOON + timedelta(days=30)) == 0
    room.clock.advance(PATIENCE.total_seconds())
    await room.outbox.sweep()
    assert await PostgresRetention(room.pool).delete_events(NOON + timedelta(days=30)) == 1
