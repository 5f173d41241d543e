"""Scheduled jobs: recurring work, the same on both hosts. Running one twice, or on two processes, is harmless."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from nomadcrew.core.archives import upkeep as archives
from nomadcrew.core.chat.attachments import forget_files
from nomadcrew.core.documents import reminders, upkeep
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.invitations import upkeep as invitations
from nomadcrew.core.pictures import upkeep as pictures
from nomadcrew.core.polls import service as polls
from nomadcrew.core.ports import Ports
from nomadcrew.core.todos.service import remind
from nomadcrew.core.trips.statuses import advance_statuses
from nomadcrew.core.weather.updates import broadcast_weather

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class ScheduledJob(Struct, frozen=True):
    """A job that runs every `every`. `run` returns the number of things done.

    Args:
        has_events: the job stores events, which are published after it.
        machine_only: on AWS a service or a function of its own does this work.
    """

    name: str
    every: timedelta
    run: Callable[[Ports, datetime], Awaitable[int]]
    has_events: bool = False
    machine_only: bool = False


class JobRun(Struct, frozen=True):
    """A run of a scheduled job. `error` is the class of its error, since a message may contain private data."""

    job: str
    started_at: datetime
    finished_at: datetime
    count: int
    error: str | None = None


class LastRun(Struct, frozen=True):
    """The last run of a scheduled job, and the last one that failed, if any."""

    job: str
    started_at: datetime
    finished_at: datetime
    count: int
    error: str | None
    failed_at: datetime | None


class JobRuns(Protocol):
    async def record(self, run: JobRun) -> None:
        """Store a run as the last one of its job; an earlier error stays the last error."""
        ...

    async def last(self) -> Sequence[LastRun]:
        """The last run of each job that ever ran, by name."""
        ...


async def _forget_files(ports: Ports, now: datetime) -> int:
    return await forget_files(attachments=ports.attachments, files=ports.files, now=now)


async def _advance_trips(ports: Ports, now: datetime) -> int:
    if not ports.site.advances_trips:
        return 0
    return await advance_statuses(trip_statuses=ports.trip_statuses, new_id=ports.new_id, now=now)


async def _remind_of_todos(ports: Ports, now: datetime) -> int:
    return await remind(todos=ports.todos, now=now)


async def _broadcast_weather(ports: Ports, now: datetime) -> int:
    return await broadcast_weather(
        connected=ports.connected,
        destinations=ports.destinations,
        weather_of=ports.weather_of,
        broadcaster=ports.broadcaster,
        new_id=ports.new_id,
        now=now,
    )


async def _remind_of_documents(ports: Ports, now: datetime) -> int:
    return await reminders.remind(documents=ports.documents, new_id=ports.new_id, now=now)


async def _sweep_documents(ports: Ports, now: datetime) -> int:
    return await upkeep.sweep(documents=ports.documents, files=ports.document_files, now=now)


async def _sweep_pictures(ports: Ports, now: datetime) -> int:
    return await pictures.sweep(pictures=ports.pictures, files=ports.picture_files, now=now)


async def _sweep_exports(ports: Ports, now: datetime) -> int:
    return await archives.sweep(exports=ports.trip_exports, files=ports.export_files, now=now)


async def _sweep_uploads(ports: Ports, now: datetime) -> int:
    return await archives.sweep_uploads(imports=ports.trip_imports, files=ports.export_files, now=now)


async def _close_polls(ports: Ports, now: datetime) -> int:
    return await polls.close_due(polls=ports.polls, now=now)


async def _remind_of_polls(ports: Ports, now: datetime) -> int:
    return await polls.remind(polls=ports.polls, now=now)


async def _remind_of_invitations(ports: Ports, now: datetime) -> int:
    return await invitations.remind(invitations=ports.invitations, now=now)


async def _expire_invitations(ports: Ports, now: datetime) -> int:
    return await invitations.expire(invitations=ports.invitations, now=now)


async def _erase_accounts(ports: Ports, _now: datetime) -> int:
    # Imported here: on AWS, the function of the other jobs does not load it.
    from nomadcrew.core.erasure.service import Eraser, erase_due

    return await erase_due(Eraser.of(ports))


SCHEDULED_JOBS: Sequence[ScheduledJob] = (
    # Others are notified within 15 seconds; reads exclude expired sharing at once.
    ScheduledJob(
        "expired-sharing",
        timedelta(seconds=15),
        lambda ports, now: ports.retention.end_expired_sharing(now),
        has_events=True,
    ),
    ScheduledJob(
        "old-replies", timedelta(minutes=1), lambda ports, now: ports.retention.delete_stored_replies(now)
    ),
    ScheduledJob("due-todos", timedelta(minutes=5), _remind_of_todos, has_events=True),
    ScheduledJob("ending-documents", HOUR, _remind_of_documents, has_events=True),
    # Reads show an expired poll that closes automatically as closed at once.
    ScheduledJob("due-polls", timedelta(minutes=1), _close_polls, has_events=True),
    ScheduledJob("poll-reminders", timedelta(minutes=5), _remind_of_polls, has_events=True),
    ScheduledJob("invitation-reminders", timedelta(minutes=15), _remind_of_invitations, has_events=True),
    # Accepting an expired invitation is refused at once.
    ScheduledJob("expired-invitations", timedelta(minutes=15), _expire_invitations),
    ScheduledJob("trip-status", timedelta(minutes=15), _advance_trips, has_events=True),
    ScheduledJob("old-positions", HOUR, lambda ports, now: ports.retention.delete_positions(now)),
    ScheduledJob("old-events", HOUR, lambda ports, now: ports.retention.delete_events(now)),
    ScheduledJob("old-mail-counts", HOUR, lambda ports, now: ports.retention.delete_mails_sent(now)),
    ScheduledJob("old-pushes", HOUR, lambda ports, now: ports.retention.delete_push_sends(now)),
    ScheduledJob("old-files", HOUR, _forget_files),
    ScheduledJob("old-documents", HOUR, _sweep_documents),
    ScheduledJob("old-pictures", HOUR, _sweep_pictures),
    ScheduledJob("old-exports", HOUR, _sweep_exports),
    ScheduledJob("old-uploads", HOUR, _sweep_uploads),
    ScheduledJob("old-imports", HOUR, lambda ports, now: ports.retention.delete_imports(now)),
    ScheduledJob(
        "old-registrations", HOUR, lambda ports, now: ports.unconfirmed_registrations.delete_expired(now=now)
    ),
    ScheduledJob(
        "old-sessions", HOUR, lambda ports, now: ports.sessions.delete_expired(now=now), machine_only=True
    ),
    ScheduledJob("deleted-accounts", timedelta(minutes=15), _erase_accounts, has_events=True, machine_only=True),
    ScheduledJob("weather-updates", HOUR, _broadcast_weather, machine_only=True),
    ScheduledJob("old-weather", HOUR, lambda ports, now: ports.retention.delete_weather(now), machine_only=True),
    ScheduledJob("places", DAY, lambda ports, now: ports.gazetteer.refresh(), machine_only=True),  # noqa: ARG005
    ScheduledJob("old-tombstones", DAY, lambda ports, now: ports.retention.delete_tombstones(now)),
    ScheduledJob("old-notifications", DAY, lambda ports, now: ports.retention.delete_notifications(now)),
    ScheduledJob("old-push-tokens", DAY, lambda ports, now: ports.retention.delete_push_tokens(now)),
    ScheduledJob("old-nonces", HOUR, lambda ports, now: ports.retention.delete_nonces(now)),
    ScheduledJob("old-email-changes", DAY, lambda ports, now: ports.retention.delete_email_changes(now)),
    ScheduledJob("old-devices", DAY, lambda ports, now: ports.retention.delete_known_devices(now)),
    ScheduledJob("old-api-keys", DAY, lambda ports, now: ports.retention.delete_api_keys(now)),
    ScheduledJob("old-deliveries", HOUR, lambda ports, now: ports.retention.delete_webhook_deliveries(now)),
    ScheduledJob("old-feedback", DAY, lambda ports, now: ports.retention.delete_feedback(now)),
    ScheduledJob("old-document-audits", DAY, lambda ports, now: ports.retention.delete_document_audit(now)),
    ScheduledJob("old-dead-jobs", DAY, lambda ports, now: ports.retention.delete_dead_jobs(now), machine_only=True),
)


async def run_scheduled_job(job: ScheduledJob, ports: Ports, *, record: bool = True) -> int:
    """Run a job once; returns the number of things done. `record` False skips the record of an idle run.

    Raises:
        Exception: the error of the job, which is recorded.
    """
    started_at = ports.clock()
    if job.has_events:
        ports.outbox.before_write()
    try:
        count = await job.run(ports, started_at)
    except Exception as error:
        with suppress(Unavailable):
            await ports.job_runs.record(JobRun(job.name, started_at, ports.clock(), 0, type(error).__name__))
        raise
    if count and job.has_events:
        await ports.outbox.after_commit()
    if record or count:
        await ports.job_runs.record(JobRun(job.name, started_at, ports.clock(), count))
    return count
