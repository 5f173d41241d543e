"""The Lambda host of streams: a batch of records of Kinesis or of a queue in, what failed of it out."""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from nomadcrew.core.ports import Ports
from nomadcrew.wire.event_entry import Context, Entry, Event, MakePorts, event_entry, seconds_left

log = logging.getLogger("nomadcrew.stream")

# Is given the records' texts, and returns the places of those that no repeat can save.
Work = Callable[[Sequence[str], Ports], Awaitable[Collection[int]]]


def stream_entry(work: Work, ports: MakePorts, declared: tuple[str, ...]) -> Entry:
    """What AWS calls; what `work` raises has the whole batch come again."""

    async def answer(event: Event, context: Context, ports: Ports) -> dict[str, Any]:
        records = event["Records"]
        failed: Collection[int]
        try:
            async with asyncio.timeout(seconds_left(context)):
                failed = await work([_text(record) for record in records], ports)
        except Exception as error:
            log.warning("a batch comes again", extra={"fields": {"records": len(records)}}, exc_info=error)
            failed = range(len(records))
        else:
            log.info("a batch was worked off", extra={"fields": {"records": len(records), "failed": len(failed)}})
        return {"batchItemFailures": [{"itemIdentifier": _id(records[place])} for place in sorted(failed)]}

    return event_entry(answer, ports, declared)


def _text(record: dict[str, Any]) -> str:
    if "kinesis" in record:
        # What is no text is no record of ours, which the work finds out.
        return base64.b64decode(record["kinesis"]["data"]).decode(errors="replace")
    return str(record["body"])


def _id(record: dict[str, Any]) -> str:
    return str(record["kinesis"]["sequenceNumber"] if "kinesis" in record else record["messageId"])
