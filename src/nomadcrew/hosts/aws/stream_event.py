"""Streams on the AWS host: runs a batch of records of a table, Kinesis or a queue and returns the failed records.

A stream retries every record from the first failed one on, in order, so the work must be idempotent. A queue has no
order, and AWS does not split its batches to isolate a bad record; this module does.
"""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from nomadcrew.adapters.aws import telemetry
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.entry import Context, Entry, Event, MakePorts, event_entry, seconds_left

log = logging.getLogger("nomadcrew.stream")

Record = dict[str, Any]
# Takes the records' texts; returns the indexes of those that no retry can save.
Work = Callable[[Sequence[str], Ports], Awaitable[Collection[int]]]


def stream_entry(work: Work, ports: MakePorts, declared: tuple[str, ...]) -> Entry:
    """A handler for AWS. After an outage or a bug the whole batch is retried; a stream splits it to isolate a bad
    record.

    If a bug fails a queue's batch, each record is run alone, so that only the bad ones are retried and reach the
    dead letters.

    The text of a table's record is its item's `event` attribute, empty without one.
    """

    async def run(records: Sequence[Record], ports: Ports) -> Collection[int]:
        """The indexes of failed records."""
        try:
            return await work([_text(record) for record in records], ports)
        except (Unavailable, TimeoutError):
            raise
        except Exception:
            if "messageId" not in records[0]:
                raise
            log.exception("Records failed", extra={"fields": {"records": len(records)}})
            if len(records) == 1:
                return [0]
        return [index for index, record in enumerate(records) if await run([record], ports)]

    async def answer(event: Event, context: Context, ports: Ports) -> dict[str, Any]:
        records = event["Records"]
        failed: Collection[int]
        try:
            async with asyncio.timeout(seconds_left(context)):
                failed = await run(records, ports)
        except (Unavailable, TimeoutError) as error:
            log.warning("Batch failed: unavailable", extra={"fields": {"records": len(records)}}, exc_info=error)
            failed = range(len(records))
        else:
            log.info("Batch done", extra={"fields": {"records": len(records), "failed": len(failed)}})
        if failed:
            telemetry.count(telemetry.JOBS_FAILED)
        return {"batchItemFailures": [{"itemIdentifier": _id(records[index])} for index in sorted(failed)]}

    return event_entry(answer, ports, declared)


def _text(record: Record) -> str:
    if "dynamodb" in record:
        return str(record["dynamodb"].get("NewImage", {}).get("event", {}).get("S", ""))
    if "kinesis" in record:
        # Undecodable bytes are a malformed record, which the work reports.
        return base64.b64decode(record["kinesis"]["data"]).decode(errors="replace")
    return str(record["body"])


def _id(record: Record) -> str:
    """The record's id for AWS."""
    if "dynamodb" in record:
        return str(record["dynamodb"]["SequenceNumber"])
    return str(record["kinesis"]["sequenceNumber"] if "kinesis" in record else record["messageId"])
