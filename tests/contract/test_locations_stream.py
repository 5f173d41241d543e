"""The location stream on AWS: Kinesis or a queue, and the function that consumes it."""

import base64
import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from nomadcrew.adapters.aws.dynamodb.last_positions import DynamoLastPositions
from nomadcrew.adapters.aws.dynamodb.location_history import DynamoLocationHistory
from nomadcrew.adapters.aws.location_stream import KinesisLocationStream, QueuedLocationStream
from nomadcrew.adapters.aws.positions import DynamoPositions, DynamoStreamedPositions
from nomadcrew.adapters.aws.queue import SqsQueue
from nomadcrew.adapters.aws.sdk.services import DYNAMODB, KINESIS, SQS
from nomadcrew.adapters.postgres.locations import PostgresLocationSharing
from nomadcrew.core.ids import TripId, UserId, uuid7
from nomadcrew.core.locations.model import Privacy, StoredPoint
from nomadcrew.core.permissions import MEMBER
from nomadcrew.hosts.aws.functions.location_stream import consume_records
from nomadcrew.wire.location_records import pack_record, record_of, unpack_record
from tests.contract.cloud import Cloud
from tests.contract.trip_database import TripDb
from tests.fakes import NOON, CountingIds, CountingOutbox, RecordingBroadcaster, SetClock, fake_ports
from tests.unit.test_locations_stream import a_report, an_outcome

PORTO = (41.15, -8.61)
FAR = (40.2, -8.4)
SECOND = timedelta(seconds=1)


TRIP, ANA = TripId(uuid7()), UserId(uuid7())


async def test_kinesis_receives_the_reports_of_a_trip_in_order(cloud: Cloud) -> None:
    kinesis, name = cloud.client(KINESIS), f"stream-{uuid7()}"
    await kinesis.call("CreateStream", {"StreamName": name, "ShardCount": 1})
    stream = KinesisLocationStream(kinesis, name)
    reports = [a_report(TRIP, ANA, PORTO, at_s=n) for n in range(3)]
    for report in reports:
        await stream.publish(report, an_outcome(report))
    hidden = a_report(TRIP, ANA, PORTO, privacy=Privacy.HIDDEN)
    await stream.publish(hidden, an_outcome(hidden))
    shards = await kinesis.call("ListShards", {"StreamName": name})
    ask = {"StreamName": name, "ShardId": shards["Shards"][0]["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    iterator = (await kinesis.call("GetShardIterator", ask))["ShardIterator"]
    records = (await kinesis.call("GetRecords", {"ShardIterator": iterator}))["Records"]
    assert [record["PartitionKey"] for record in records] == [str(TRIP)] * 3
    got = [unpack_record(base64.b64decode(record["Data"]).decode()) for record in records]
    assert got == [record_of(report, an_outcome(report)) for report in reports]


async def test_a_queue_receives_the_same_records(cloud: Cloud) -> None:
    url = await cloud.work_queue()
    stream = QueuedLocationStream(SqsQueue(cloud.client(SQS), {"location": url}, new_id=uuid7))
    report = a_report(TRIP, ANA, PORTO)
    await stream.publish(report, an_outcome(report))
    hidden = a_report(TRIP, ANA, PORTO, privacy=Privacy.HIDDEN)
    await stream.publish(hidden, an_outcome(hidden))
    assert [unpack_record(text) for text in await cloud.messages(url)] == [record_of(report, an_outcome(report))]


class Scenario:
    """Reports, their stream records and the consumer, so that tests can delay, repeat and reorder records."""

    def __init__(
        self, db: TripDb, positions: DynamoPositions, kept: DynamoStreamedPositions, history: DynamoLocationHistory
    ):
        self.db = db
        self.positions = positions
        self.kept = kept
        self.history = history
        self.broadcaster, self.outbox, self.clock = RecordingBroadcaster(), CountingOutbox(), SetClock()
        self.ports = fake_ports(
            streamed_positions=kept, broadcaster=self.broadcaster, outbox=self.outbox, clock=self.clock,
            new_id=CountingIds(),
            location_sharing=PostgresLocationSharing(db.pool), queue=None,
        )  # fmt: skip

    async def send(
        self, trip: TripId, user: UserId, *positions_of_events: tuple[float, float], at_s: int = 0
    ) -> str:
        """The stream record of an accepted report."""
        report = a_report(trip, user, *positions_of_events, at_s=at_s)
        return pack_record(record_of(report, await self.positions.accept(report, MEMBER)))

    async def broadcast_positions(self) -> list[tuple[float, float]]:
        positions_of_events = [json.loads(event.payload)["location"] for event in self.broadcaster.events]
        self.broadcaster.events.clear()
        return [(place["latitude"], place["longitude"]) for place in positions_of_events]

    async def seconds(self, trip: TripId, user: UserId) -> list[float]:
        points = await self.history.track(trip, user, start=NOON - 99 * SECOND, end=NOON + 99_999 * SECOND)
        return [(point.recorded_at - NOON) / SECOND for point in points]


@pytest_asyncio.fixture(loop_scope="session")
async def scenario(cloud: Cloud, data_api_db: TripDb) -> AsyncIterator[Scenario]:
    dynamodb, sql = cloud.client(DYNAMODB), data_api_db.pool
    last = DynamoLastPositions(dynamodb, await cloud.positions_table())
    history = DynamoLocationHistory(dynamodb, await cloud.history_table())
    positions, kept = DynamoPositions(sql, last, history), DynamoStreamedPositions(sql, last, history)
    yield Scenario(data_api_db, positions, kept, history)


async def test_history_is_stored_and_the_newest_position_broadcast_once(scenario: Scenario) -> None:
    ana = await scenario.db.user("ana")
    trip = await scenario.db.trip(ana)
    texts = [await scenario.send(trip, ana, (41.0 + n / 1000, -8.6), at_s=n) for n in range(3)]
    assert await consume_records(texts, scenario.ports) == []
    assert await scenario.broadcast_positions() == [(41.002, -8.6)]
    assert await scenario.seconds(trip, ana) == [0, 1, 2]
    assert scenario.outbox.commits_with_events == 0


async def test_duplicate_late_and_reordered_records_give_the_same_result(scenario: Scenario) -> None:
    ana = await scenario.db.user("ana")
    trip = await scenario.db.trip(ana)
    first, second = (
        await scenario.send(trip, ana, FAR, at_s=0),
        await scenario.send(trip, ana, (40.201, -8.4), at_s=10),
    )
    await consume_records([second], scenario.ports)
    assert await scenario.broadcast_positions() == [(40.201, -8.4)]
    await consume_records([first, first], scenario.ports)
    assert await scenario.broadcast_positions() == []
    await consume_records([second, first], scenario.ports)
    assert await scenario.broadcast_positions() == [(40.201, -8.4)]
    assert await scenario.seconds(trip, ana) == [0, 10]


async def test_privacy_is_checked_at_the_broadcast(scenario: Scenario) -> None:
    ana, ben = await scenario.db.user("ana"), await scenario.db.user("ben")
    trip = await scenario.db.trip(ana)
    await scenario.db.join(trip, ben, ana)
    ana_record, ben_record = await scenario.send(trip, ana, FAR), await scenario.send(trip, ben, FAR)
    await scenario.db.run(
        """UPDATE user_profiles SET preferences = '{"ghostMode": true}' WHERE id = :id::uuid""", id=ana
    )
    await scenario.db.leave(trip, ben, ana)
    await consume_records([ana_record, ben_record], scenario.ports)
    assert await scenario.broadcast_positions() == []


async def test_an_arrival_is_stored_and_published_once(scenario: Scenario) -> None:
    ana = await scenario.db.user("ana")
    trip = await scenario.db.trip(ana)
    text = await scenario.send(trip, ana, PORTO)
    for _ in range(2):
        await consume_records([text], scenario.ports)
    arrived = [event["payload"] for event in await scenario.db.events() if event["type"] == "MEMBER_ARRIVED"]
    assert arrived == [{"userId": str(ana), "name": "ana", "place": "destination"}]
    assert (scenario.outbox.writes, scenario.outbox.commits_with_events) == (1, 1)


async def test_a_large_report_is_stored_completely(scenario: Scenario) -> None:
    ana = await scenario.db.user("ana")
    trip = await scenario.db.trip(ana)
    count = 450
    positions_of_events = [(41.0 + n / 1e5, -8.6) for n in range(count)]
    await consume_records([await scenario.send(trip, ana, *positions_of_events)], scenario.ports)
    assert await scenario.seconds(trip, ana) == list(range(count))


async def test_points_beyond_the_size_of_an_item_are_dropped_for_that_user_only(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    points = [
        StoredPoint(
            41.123456789012 + n / 1e9,
            -8.612345678901,
            NOON + n * timedelta(milliseconds=10),
            NOON,
            Privacy.APPROXIMATE,
            12.345678901234,
            1.234567890123,
            123.45678901234,
        )
        for n in range(4_000)
    ]
    trip, ben = TripId(uuid7()), UserId(uuid7())
    with caplog.at_level(logging.WARNING):
        await scenario.history.store([*((trip, ANA, point) for point in points), (trip, ben, points[0])])
        await scenario.history.store([(trip, ANA, points[-1])])
    assert {record.message for record in caplog.records} == {"points not stored"}
    assert len(await scenario.seconds(trip, ANA)) > 1_000
    assert await scenario.seconds(trip, ben) == [0]
