"""The Lambda host of work queues: a batch of an SQS event source in, what failed of it out."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from nomadcrew.adapters.aws import telemetry
from nomadcrew.core.errors import Hopeless, Unavailable
from nomadcrew.core.ids import JobId
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job, patience
from nomadcrew.hosts.aws.entry import Context, Entry, Event, MakePorts, event_entry, seconds_left

log = logging.getLogger("nomadcrew.jobs")

Work = Callable[[Job, Ports], Awaitable[None]]
Record = Mapping[str, Any]


def queue_entry(work: Work, ports: MakePorts, declared: tuple[str, ...]) -> Entry:
    """What AWS calls; `work` is done once a message, those of different groups at once.

    The declared ports have to hold the queue, which failed jobs are given back to.
    """

    async def answer(event: Event, context: Context, ports: Ports) -> dict[str, Any]:
        until = asyncio.get_running_loop().time() + seconds_left(context)
        groups = _groups(event["Records"])
        done = await asyncio.gather(*(_work_off(group, work, ports, until) for group in groups))
        return failures(record for failed in done for record in failed)

    return event_entry(answer, ports, declared)


def batch_entry(
    work: Callable[[Sequence[Job], Ports], Awaitable[None]], ports: MakePorts, declared: tuple[str, ...]
) -> Entry:
    """What AWS calls; `work` is done once a batch, and when it fails all of the batch comes again."""

    async def answer(event: Event, context: Context, ports: Ports) -> dict[str, Any]:
        records, started = event["Records"], time.perf_counter()
        jobs = [job_in(record) for record in records]
        failure: Exception | None = None
        try:
            async with asyncio.timeout(seconds_left(context)):
                await work(jobs, ports)
        except Exception as error:
            failure = error
        for job in jobs:
            _report(job, time.perf_counter() - started, failure)
        if failure is None:
            return failures(())
        await asyncio.gather(*(_give_back(job, type(failure).__name__, ports) for job in jobs))
        return failures(records)

    return event_entry(answer, ports, declared)


def failures(records: Any) -> dict[str, Any]:
    """The answer that has SQS keep these records and delete the others."""
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in records]}


def job_in(record: Record) -> Job:
    """The job of a record. Its queue is named by ARN; `job_id` and `enqueued` are what our queue adapter adds."""
    system, ours = record["attributes"], record.get("messageAttributes", {})
    id_ = ours.get("job_id", {}).get("stringValue") or record["messageId"]
    enqueued_ms = ours.get("enqueued", {}).get("stringValue") or system["SentTimestamp"]
    return Job(
        JobId(UUID(id_)),
        record["eventSourceARN"],
        record["body"],
        int(system["ApproximateReceiveCount"]),
        datetime.fromtimestamp(int(enqueued_ms) / 1000, UTC),
        record["receiptHandle"],
    )


def _groups(records: Sequence[Record]) -> list[list[Record]]:
    """Records that have to be done one after another, together."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        group = record["attributes"].get("MessageGroupId")
        groups.setdefault(f"group {group}" if group else record["messageId"], []).append(record)
    return list(groups.values())


async def _work_off(records: Sequence[Record], work: Work, ports: Ports, until: float) -> Sequence[Record]:
    """Do jobs in their order; what is left from the first that failed, for none may overtake it."""
    for position, record in enumerate(records):
        if not await _done(job_in(record), work, ports, until):
            left = records[position:]
            for waits in left[1:]:
                await _give_back(job_in(waits), "waits for another", ports)
            return left
    return ()


async def _done(job: Job, work: Work, ports: Ports, until: float) -> bool:
    """Whether SQS may forget a job: it is done, or buried."""
    started = time.perf_counter()
    failure: Exception | None = None
    try:
        async with asyncio.timeout_at(until):
            await work(job, ports)
    except Exception as error:
        failure = error
    _report(job, time.perf_counter() - started, failure)
    if failure is None:
        return True
    final = isinstance(failure, Hopeless)
    # The class alone: a message could hold an address, and dead jobs are listed.
    given_back = await _give_back(job, type(failure).__name__, ports, final=final)
    return given_back and (final or job.attempt >= patience(job.queue).attempts)


async def _give_back(job: Job, reason: str, ports: Ports, *, final: bool = False) -> bool:
    try:
        await ports.queue.fail(job, reason, final=final)
    except Exception as error:
        # Then it comes back by itself, when its visibility ends.
        fields = {"job_id": str(job.id), "attempt": job.attempt}
        log.warning("a job could not be given back", extra={"fields": fields}, exc_info=error)
        return False
    return True


def _report(job: Job, seconds: float, failure: Exception | None) -> None:
    fields = {
        "queue": job.queue.rpartition(":")[2],
        "job_id": str(job.id),
        "attempt": job.attempt,
        "duration_ms": round(seconds * 1000, 2),
    }
    if failure is None:
        log.info("job", extra={"fields": fields})
        return
    telemetry.count(telemetry.JOBS_FAILED)
    if isinstance(failure, Hopeless) or job.attempt >= patience(job.queue).attempts:
        telemetry.count(telemetry.JOBS_BURIED)
    if isinstance(failure, Unavailable | TimeoutError):
        log.warning("a job waits for its next attempt", extra={"fields": fields}, exc_info=failure)
    else:
        log.error("a job failed", extra={"fields": fields}, exc_info=failure)
