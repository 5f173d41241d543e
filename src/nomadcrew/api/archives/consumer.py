"""Makes the exports that are too large for a reply."""

from typing import Final

from nomadcrew.api.archives.sources import sources_of
from nomadcrew.api.calendars.ics import calendar_text
from nomadcrew.core.archives.jobs import run_export
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.wire.export_jobs import export_job_in

PORTS: Final = (
    "chat", "document_files", "documents", "export_files", "files", "meeting_points", "outbox", "picture_files",
    "pictures", "polls", "positions", "profiles", "queue", "todos", "trip_exports", "trips",
)  # fmt: skip


async def consume_export(job: Job, ports: Ports) -> None:
    """Write an archive to the file store. Safe to repeat.

    Raises:
        NotAnExportJob: the message is not an export job.
        Unavailable: an outage; the job is retried.
    """
    await run_export(
        export_job_in(job.body),
        exports=ports.trip_exports,
        files=ports.export_files,
        sources=sources_of(ports),
        outbox=ports.outbox,
        write_calendar=calendar_text,
        new_id=ports.new_id,
        now=ports.clock(),
    )
