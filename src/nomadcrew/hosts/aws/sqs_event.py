"""Work queues on the AWS host: runs a batch of an SQS event source and returns the failed records."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from nomadcrew.adapters.aws import telemetry
from nomadcrew.core.errors import PermanentFailure, Unavailable
from nomadcrew.core.ids import JobId
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job, retry_policy
from nomadcrew.hosts.aws.entry import Context, Entry, Event, MakePorts, event_entry, seconds_left

log = logging.getLogger("nomadcrew.jobs")

Work = Callable[[Job, Ports], Awaitable[None]]
Record = Mapping[str, Any]


def queue_entry(work: Work, ports: MakePorts, declared: tuple[str, ...]) -> Entry:
    """A handler for AWS that calls `work` for each message; messages of different groups run concurrently.

    The declared ports must include `queue`, which failed jobs are returned to.
    """

    async def answer(event: Event, context: Context, ports: Ports) -> dict[str, Any]:
        until = asyncio.get_running_loop().time() + seconds_left(context)
        groups = _groups(event["Records"])
        failed_groups = await asyncio.gather(*(_run_group(group, work, ports, until) for group in groups))
        return failures(record for failed in failed_groups for record in failed)

    return event_entry(answer, ports, declared)


def batch_entry(
    work: Callable[[Sequence[Job], Ports], Awaitable[None]], ports: MakePorts, declared: tuple[str, ...]
) -> Entry:
    """A handler for AWS that calls `work` once per batch. If it fails, the whole batch is retried."""

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
        await asyncio.gather(*(_return_to_queue(job, type(failure).__name__, ports) for job in jobs))
        return failures(records)

    return event_entry(answer, ports, declared)


def failures(records: Any) -> dict[str, Any]:
    """The answer that makes SQS retain these records and delete the others."""
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in records]}


def job_in(record: Record) -> Job:
    """The job of a record. `queue` is its ARN; our queue adapter sets the attributes `job_id` and `enqueued`."""
    system, own = record["attributes"], record.get("messageAttributes", {})
    id_ = own.get("job_id", {}).get("stringValue") or record["messageId"]
    enqueued_ms = own.get("enqueued", {}).get("stringValue") or system["SentTimestamp"]
    return Job(
        JobId(UUID(id_)),
        record["eventSourceARN"],
        record["body"],
        int(system["ApproximateReceiveCount"]),
        datetime.fromtimestamp(int(enqueued_ms) / 1000, UTC),
        record["receiptHandle"],
    )


def _groups(records: Sequence[Record]) -> list[list[Record]]:
    """Records by message group; a group's records run one after another."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        group = record["attributes"].get("MessageGroupId")
        groups.setdefault(f"group {group}" if group else record["messageId"], []).append(record)
    return list(groups.values())


async def _run_group(records: Sequence[Record], work: Work, ports: Ports, until: float) -> Sequence[Record]:
    """Run a group's jobs in order. Returns the first failed record and all after it, which must not overtake it."""
    for index, record in enumerate(records):
        if not await _is_done(job_in(record), work, ports, until):
            failed = records[index:]
            for waiting in failed[1:]:
                await _return_to_queue(job_in(waiting), "waits for another", ports)
            return failed
    return ()


async def _is_done(job: Job, work: Work, ports: Ports, until: float) -> bool:
    """Run a job. True if SQS may delete it: the job succeeded or is in the dead letters."""
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
    final = isinstance(failure, PermanentFailure)
    # The error's class only: dead jobs are listed, and an error's text could contain an address.
    is_returned = await _return_to_queue(job, type(failure).__name__, ports, final=final)
    return is_returned and (final or job.attempt >= retry_policy(job.queue).attempts)


async def _return_to_queue(job: Job, reason: str, ports: Ports, *, final: bool = False) -> bool:
    try:
        await ports.queue.fail(job, reason, final=final)
    except Exception as error:
        # SQS delivers the job again when its visibility timeout ends.
        fields = {"job_id": str(job.id), "attempt": job.attempt}
        log.warning("Job could not be returned to its queue", extra={"fields": fields}, exc_info=error)
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
        log.info("Job done", extra={"fields": fields})
        return
    telemetry.count(telemetry.JOBS_FAILED)
    if isinstance(failure, PermanentFailure) or job.attempt >= retry_policy(job.queue).attempts:
        telemetry.count(telemetry.JOBS_DEAD)
    if isinstance(failure, Unavailable | TimeoutError):
        log.warning("Job failed: unavailable", extra={"fields": fields}, exc_info=failure)
    else:
        log.error("Job failed", extra={"fields": fields}, exc_info=failure)
