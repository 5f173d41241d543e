"""The location stream: a Kinesis stream, partitioned by trip, or a queue for small deployments."""

import base64

from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.core.events import LOCATION
from nomadcrew.core.locations.model import Accepted, Report
from nomadcrew.core.queues import WorkQueue
from nomadcrew.wire.location_records import pack_record, record_of


class KinesisLocationStream:
    """`LocationStream` on Kinesis; the trip's id selects the shard, so a trip's reports stay in order."""

    def __init__(self, kinesis: AwsClient, stream: str) -> None:
        self._kinesis = kinesis
        self._stream = stream

    async def publish(self, report: Report, accepted: Accepted) -> bool:
        carried = record_of(report, accepted)
        if carried.points:
            record = {
                "StreamName": self._stream,
                "PartitionKey": str(report.trip_id),
                "Data": base64.b64encode(pack_record(carried).encode()).decode(),
            }
            await self._kinesis.call("PutRecord", record)
        return False


class QueuedLocationStream:
    """`LocationStream` on a queue, which has no order: the consumer uses the stored positions."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue

    async def publish(self, report: Report, accepted: Accepted) -> bool:
        carried = record_of(report, accepted)
        if carried.points:
            await self._queue.send(LOCATION, pack_record(carried))
        return False
