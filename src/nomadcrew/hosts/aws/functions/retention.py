"""Hourly schedule: runs every scheduled job and publishes leftover events."""

import asyncio
import logging
from typing import Final

from nomadcrew.core.ports import Ports
from nomadcrew.core.scheduled_jobs import SCHEDULED_JOBS, run_scheduled_job
from nomadcrew.hosts.aws.entry import Context, Event, event_entry, seconds_left
from nomadcrew.hosts.aws.ports import lambda_ports

log = logging.getLogger("nomadcrew.retention")

# On AWS, DynamoDB's TTL deletes sessions, and the queues' retention deletes dead jobs.
JOBS = [job for job in SCHEDULED_JOBS if not job.machine_only]
PORTS: Final = (
    "attachments", "document_files", "documents", "export_files", "files", "invitations", "job_runs", "outbox",
    "picture_files", "pictures", "polls", "retention", "todos", "trip_exports", "trip_imports", "trip_statuses",
    "unconfirmed_registrations",
)  # fmt: skip


async def apply_retention(_event: Event, context: Context, ports: Ports) -> None:
    """Run every job, also after one has failed, and publish events that no probe published.

    Raises:
        ExceptionGroup: the errors of the failed jobs.
    """
    counts: dict[str, int] = {}
    failed: list[Exception] = []
    async with asyncio.timeout(seconds_left(context)):
        for job in JOBS:
            try:
                counts[job.name] = await run_scheduled_job(job, ports)
            except Exception as error:
                failed.append(error)
        try:
            counts["published"] = await ports.outbox.sweep()
        except Exception as error:
            failed.append(error)
    log.info("Retention finished", extra={"fields": counts})
    if failed:
        raise ExceptionGroup("retention", failed)


handler = event_entry(apply_retention, lambda_ports, PORTS)
