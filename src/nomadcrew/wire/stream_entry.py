"""The Lambda host of streams: a batch of records in, the first that failed out.

A stream keeps its order: from a record that failed on, everything comes again. AWS halves a batch that keeps
failing until it holds one record, and puts that away as a dead letter.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from nomadcrew import telemetry
from nomadcrew.core.errors import Hopeless
from nomadcrew.core.ports import Ports
from nomadcrew.wire.event_entry import Context, Entry, Event, MakePorts, event_entry, seconds_left

log = logging.getLogger("nomadcrew.streams")

T = TypeVar("T")
Record = Mapping[str, Any]


def stream_entry(
    read: Callable[[Record], T | None],
    work: Callable[[Sequence[T], Ports], Awaitable[None]],
    ports: MakePorts,
    declared: tuple[str, ...],
) -> Entry:
    """What AWS calls; `work` is done once with all that `read` finds in a batch, up to a record it cannot read."""

    async def answer(event: Event, context: Context, ports: Ports) -> dict[str, Any]:
        found: list[T] = []
        unreadable: Record | None = None
        for record in event["Records"]:
            try:
                item = read(record)
            except Hopeless as error:
                unreadable = record
                telemetry.count(telemetry.JOBS_FAILED)
                log.error(  # noqa: TRY400 — its trace could show what was in the record
                    "a record cannot be read", extra={"fields": {"reason": type(error).__name__}}
                )
                break
            if item is not None:
                found.append(item)
        if found:
            async with asyncio.timeout(seconds_left(context)):
                await work(found, ports)
        log.info("stream", extra={"fields": {"records": len(event["Records"]), "items": len(found)}})
        return {"batchItemFailures": [] if unreadable is None else [{"itemIdentifier": _number(unreadable)}]}

    return event_entry(answer, ports, declared)


def _number(record: Record) -> str:
    """A record's sequence number, by which AWS knows it."""
    if "dynamodb" in record:
        return str(record["dynamodb"]["SequenceNumber"])
    return str(record["kinesis"]["sequenceNumber"])
