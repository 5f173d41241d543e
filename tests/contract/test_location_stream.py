"""What carries positions to the crew on AWS: a Kinesis stream or a queue, and the function that consumes either."""

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
from tests.contract.crew import Crew
from tests.fakes import NOON, Bell, CountingIds, SetClock, Told, fake_ports
from tests.unit.test_location_stream import a_report, an_outcome

PORTO = (41.15, -8.61)
FAR = (40.2, -8.4)
SECOND = timedelta(seconds=1)


TRIP, ANA = TripId(uuid7()), UserId(uuid7())


async def test_kinesis_keeps_a_trips_reports_together_and_in_order(cloud: Cloud) -> None:
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


async def test_a_queue_carries_the_same(cloud: Cloud) -> None:
    url = await cloud.work_queue()
    stream = QueuedLocationStream(SqsQueue(cloud.client(SQS), {"location": url}, new_id=uuid7))
    report = a_report(TRIP, ANA, PORTO)
    await stream.publish(report, an_outcome(report))
    hidden = a_report(TRIP, ANA, PORTO, privacy=Privacy.HIDDEN)
    await stream.publish(hidden, an_outcome(hidden))
    assert [unpack_record(text) for text in await cloud.messages(url)] == [record_of(report, an_outcome(report))]


class Way:
    """From a report to the crew, with a stream in between that can be held up, repeated and mixed up."""

    def __init__(
        self, crew: Crew, positions: DynamoPositions, kept: DynamoStreamedPositions, history: DynamoLocationHistory
    ):
        self.crew = crew
        self.positions = positions
        self.kept = kept
        self.history = history
        self.told, self.bell, self.clock = Told(), Bell(), SetClock()
        self.ports = fake_ports(
            streamed_positions=kept, broadcaster=self.told, outbox=self.bell, clock=self.clock,
            new_id=CountingIds(), location_sharing=PostgresLocationSharing(crew.pool), queue=None,
        )  # fmt: skip

    async def send(self, trip: TripId, user: UserId, *places: tuple[float, float], at_s: int = 0) -> str:
        """The record of a report that was accepted."""
        report = a_report(trip, user, *places, at_s=at_s)
        return pack_record(record_of(report, await self.positions.accept(report, MEMBER)))

    async def heard(self) -> list[tuple[float, float]]:
        places = [json.loads(event.payload)["location"] for event in self.told.events]
        self.told.events.clear()
        return [(place["latitude"], place["longitude"]) for place in places]

    async def seconds(self, trip: TripId, user: UserId) -> list[float]:
        points = await self.history.track(trip, user, start=NOON - 99 * SECOND, end=NOON + 99_999 * SECOND)
        return [(point.recorded_at - NOON) / SECOND for point in points]


@pytest_asyncio.fixture(loop_scope="session")
async def way(cloud: Cloud, data_api_crew: Crew) -> AsyncIterator[Way]:
    dynamodb, sql = cloud.client(DYNAMODB), data_api_crew.pool
    last = DynamoLastPositions(dynamodb, await cloud.positions_table())
    history = DynamoLocationHistory(dynamodb, await cloud.history_table())
    positions, kept = DynamoPositions(sql, last, history), DynamoStreamedPositions(sql, last, history)
    yield Way(data_api_crew, positions, kept, history)


async def test_history_is_kept_and_the_newest_told_once(way: Way) -> None:
    ana = await way.crew.person("ana")
    trip = await way.crew.trip(ana)
    texts = [await way.send(trip, ana, (41.0 + n / 1000, -8.6), at_s=n) for n in range(3)]
    assert await consume_records(texts, way.ports) == []
    assert await way.heard() == [(41.002, -8.6)]
    assert await way.seconds(trip, ana) == [0, 1, 2]
    assert way.bell.rung == 0


async def test_what_comes_twice_late_or_in_another_order_leaves_the_same(way: Way) -> None:
    ana = await way.crew.person("ana")
    trip = await way.crew.trip(ana)
    first, second = await way.send(trip, ana, FAR, at_s=0), await way.send(trip, ana, (40.201, -8.4), at_s=10)
    await consume_records([second], way.ports)
    assert await way.heard() == [(40.201, -8.4)]
    await consume_records([first, first], way.ports)
    assert await way.heard() == []
    await consume_records([second, first], way.ports)
    assert await way.heard() == [(40.201, -8.4)]
    assert await way.seconds(trip, ana) == [0, 10]


async def test_privacy_is_asked_when_it_is_told(way: Way) -> None:
    ana, ben = await way.crew.person("ana"), await way.crew.person("ben")
    trip = await way.crew.trip(ana)
    await way.crew.join(trip, ben, ana)
    of_ana, of_ben = await way.send(trip, ana, FAR), await way.send(trip, ben, FAR)
    await way.crew.run(
        """UPDATE user_profiles SET preferences = '{"ghostMode": true}' WHERE id = :id::uuid""", id=ana
    )
    await way.crew.leave(trip, ben, ana)
    await consume_records([of_ana, of_ben], way.ports)
    assert await way.heard() == []


async def test_an_arrival_is_noted_once_and_published(way: Way) -> None:
    ana = await way.crew.person("ana")
    trip = await way.crew.trip(ana)
    text = await way.send(trip, ana, PORTO)
    for _ in range(2):
        await consume_records([text], way.ports)
    arrived = [event["payload"] for event in await way.crew.events() if event["type"] == "MEMBER_ARRIVED"]
    assert arrived == [{"userId": str(ana), "name": "ana", "place": "destination"}]
    assert (way.bell.expected, way.bell.rung) == (1, 1)


async def test_a_long_way_is_kept_whole(way: Way) -> None:
    ana = await way.crew.person("ana")
    trip = await way.crew.trip(ana)
    count = 450
    places = [(41.0 + n / 1e5, -8.6) for n in range(count)]
    await consume_records([await way.send(trip, ana, *places)], way.ports)
    assert await way.seconds(trip, ana) == list(range(count))


async def test_who_sends_more_than_an_item_holds_loses_the_rest_and_nobody_else_anything(
    way: Way, caplog: pytest.LogCaptureFixture
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
        await way.history.store([*((trip, ANA, point) for point in points), (trip, ben, points[0])])
        await way.history.store([(trip, ANA, points[-1])])
    assert {record.message for record in caplog.records} == {"points not stored"}
    assert len(await way.seconds(trip, ANA)) > 1_000
    assert await way.seconds(trip, ben) == [0]
