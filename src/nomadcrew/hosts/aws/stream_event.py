"""The Lambda host of streams: a batch of records of a table, of Kinesis or of a queue in, what failed of it out.

A stream keeps its order: from the first record that failed on, everything comes again, so work has to bear that.
A queue has no order, and nobody halves its batches: that is done here.
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
# Is given the records' texts, and returns the places of those that no repeat can save.
Work = Callable[[Sequence[str], Ports], Awaitable[Collection[int]]]


def stream_entry(work: Work, ports: MakePorts, declared: tuple[str, ...]) -> Entry:
    """What AWS calls. After an outage the whole batch comes again; after a bug too, in halves, until it is found.

    Of a queue's batch, what a bug struck comes again alone, or all that was with it would end as dead letters too.

    The text of a table's record is what its item is told with, in `event`; empty where it tells nothing.
    """

    async def done(records: Sequence[Record], ports: Ports) -> Collection[int]:
        try:
            return await work([_text(record) for record in records], ports)
        except (Unavailable, TimeoutError):
            raise
        except Exception:
            if "messageId" not in records[0]:
                raise
            log.exception("records failed", extra={"fields": {"records": len(records)}})
            if len(records) == 1:
                return [0]
        return [place for place, record in enumerate(records) if await done([record], ports)]

    async def answer(event: Event, context: Context, ports: Ports) -> dict[str, Any]:
        records = event["Records"]
        failed: Collection[int]
        try:
            async with asyncio.timeout(seconds_left(context)):
                failed = await done(records, ports)
        except (Unavailable, TimeoutError) as error:
            log.warning("a batch comes again", extra={"fields": {"records": len(records)}}, exc_info=error)
            failed = range(len(records))
        else:
            log.info("a batch was worked off", extra={"fields": {"records": len(records), "failed": len(failed)}})
        if failed:
            telemetry.count(telemetry.JOBS_FAILED)
        return {"batchItemFailures": [{"itemIdentifier": _id(records[place])} for place in sorted(failed)]}

    return event_entry(answer, ports, declared)


def _text(record: Record) -> str:
    if "dynamodb" in record:
        return str(record["dynamodb"].get("NewImage", {}).get("event", {}).get("S", ""))
    if "kinesis" in record:
        # What is no text is no record of ours, which the work finds out.
        return base64.b64decode(record["kinesis"]["data"]).decode(errors="replace")
    return str(record["body"])


def _id(record: Record) -> str:
    """What AWS knows a record by."""
    if "dynamodb" in record:
        return str(record["dynamodb"]["SequenceNumber"])
    return str(record["kinesis"]["sequenceNumber"] if "kinesis" in record else record["messageId"])
