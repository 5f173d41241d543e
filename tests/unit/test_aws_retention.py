"""The hourly upkeep: every task runs, also if another fails."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import pytest

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import (
    AttachmentId,
    DocumentId,
    ExportId,
    InvitationId,
    PictureId,
    TripId,
    UploadId,
    uuid7,
)
from nomadcrew.core.invitations.model import REMINDED_BEFORE, ToRemind
from nomadcrew.core.ports import Ports, Site
from nomadcrew.core.retention import (
    RESERVED_DOCUMENT_RETENTION,
    RESERVED_PICTURE_RETENTION,
    UNUSED_ATTACHMENT_RETENTION,
)
from nomadcrew.core.scheduled_jobs import JobRun
from nomadcrew.core.trips.model import Status
from nomadcrew.core.trips.statuses import OpenTrip, StatusChange
from nomadcrew.hosts.aws.functions.retention import JOBS, apply_retention
from tests.fakes import CountingOutbox, fake_ports

OTHERS = [
    "api keys",
    "devices",
    "document audit",
    "documents",
    "email changes",
    "ending documents",
    "exports",
    "feedback",
    "files",
    "imports",
    "invitation reminders",
    "invitations",
    "mails sent",
    "nonces",
    "notifications",
    "pictures",
    "poll reminders",
    "polls",
    "positions",
    "push tokens",
    "pushes",
    "registrations",
    "replays",
    "sharing",
    "todos",
    "tombstones",
    "trips",
    "uploads",
    "webhook deliveries",
]


class LambdaContext:
    """The context of an invocation."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


@dataclass
class FakePolls:
    """Fakes the jobs of polls, recorded with those of `storage`."""

    done: list[str]

    async def close_due(self, *, now: datetime, limit: int) -> int:
        self.done.append("polls")
        return 1

    async def remind(self, *, now: datetime, limit: int) -> int:
        self.done.append("poll reminders")
        return 1


@dataclass
class FakeInvitations:
    """Fakes the jobs of invitations, recorded with those of `storage`."""

    done: list[str]

    async def list_to_remind(self, expires_until: datetime, *, now: datetime, limit: int) -> list[ToRemind]:
        assert expires_until - now == REMINDED_BEFORE
        return [ToRemind(InvitationId(uuid7()), "new@example.org")]

    async def remind(self, invitation: ToRemind, *, now: datetime) -> bool:
        self.done.append("invitation reminders")
        return True

    async def expire(self, *, now: datetime, limit: int) -> int:
        self.done.append("invitations")
        return 1


@dataclass
class FakeStorage:
    """Fakes the ports of retention; `away` fails the deletion of events."""

    away: bool = False
    deleted_key: str = ""
    done: list[str] = field(default_factory=list)
    runs: list[JobRun] = field(default_factory=list)

    async def delete_stored_replies(self, now: datetime) -> int:
        return self._record("replays")

    async def delete_events(self, now: datetime) -> int:
        if self.away:
            raise Unavailable
        return self._record("events")

    async def delete_tombstones(self, now: datetime) -> int:
        return self._record("tombstones")

    async def delete_notifications(self, now: datetime) -> int:
        return self._record("notifications")

    async def delete_push_tokens(self, now: datetime) -> int:
        return self._record("push tokens")

    async def delete_nonces(self, now: datetime) -> int:
        return self._record("nonces")

    async def delete_email_changes(self, now: datetime) -> int:
        return self._record("email changes")

    async def delete_known_devices(self, now: datetime) -> int:
        return self._record("devices")

    async def delete_api_keys(self, now: datetime) -> int:
        return self._record("api keys")

    async def delete_webhook_deliveries(self, now: datetime) -> int:
        return self._record("webhook deliveries")

    async def delete_feedback(self, now: datetime) -> int:
        return self._record("feedback")

    async def delete_document_audit(self, now: datetime) -> int:
        return self._record("document audit")

    async def delete_imports(self, now: datetime) -> int:
        return self._record("imports")

    async def expired(self, before: datetime, *, limit: int) -> list[ExportId]:
        return [] if "exports" in self.done else [ExportId(uuid7())]

    async def expired_uploads(self, before: datetime, *, limit: int) -> list[UploadId]:
        return [] if "uploads" in self.done else [UploadId(uuid7())]

    async def forget_uploads(self, ids: Sequence[UploadId]) -> None:
        assert self.deleted_key == f"exports/upload-{ids[0]}"  # the file was deleted before
        self._record("uploads")

    async def delete_mails_sent(self, now: datetime) -> int:
        return self._record("mails sent")

    async def delete_push_sends(self, now: datetime) -> int:
        return self._record("pushes")

    async def end_expired_sharing(self, now: datetime) -> int:
        return self._record("sharing")

    async def delete_positions(self, now: datetime) -> int:
        return self._record("positions")

    async def delete_expired(self, *, now: datetime) -> int:
        return self._record("registrations")

    async def expire(self, unused_since: datetime, *, now: datetime, limit: int) -> int:
        assert now - unused_since == UNUSED_ATTACHMENT_RETENTION
        return 1

    async def list_deleted(self, *, limit: int) -> list[tuple[TripId, AttachmentId]]:
        assert limit > 1
        return [(TripId(uuid7()), AttachmentId(uuid7()))]

    async def delete(self, key: str) -> None:
        self.deleted_key = key

    async def forget(self, ids: Sequence[AttachmentId | ExportId]) -> None:
        assert self.deleted_key.endswith(f"/{ids[0]}")  # the file was deleted before
        self._record("exports" if self.deleted_key.startswith("exports") else "files")

    async def open_trips(self, *, today: date, after: TripId | None, limit: int) -> list[OpenTrip]:
        assert (after, limit > 1) == (None, True)
        return [OpenTrip(TripId(uuid7()), Status.PLANNING, today, today, "UTC")]

    async def advance(self, changes: Sequence[StatusChange], *, now: datetime) -> int:
        assert len(changes) == 1
        return self._record("trips")

    async def record(self, run: JobRun) -> None:
        self.runs.append(run)

    async def remind(self, *, now: datetime, limit: int) -> int:
        assert limit > 1
        return self._record("todos")

    def _record(self, task: str) -> int:
        self.done.append(task)
        return 1


@dataclass
class FakeDocuments:
    """Fakes the documents of retention, one of them with a file."""

    storage: FakeStorage
    files: list[DocumentId] = field(default_factory=lambda: [DocumentId(uuid7())])

    async def expire(self, reserved_before: datetime, *, now: datetime, limit: int) -> int:
        assert now - reserved_before == RESERVED_DOCUMENT_RETENTION
        return 0

    async def remind(self, *_: object, now: datetime) -> int:
        self.storage.done.append("ending documents")
        return 1

    async def list_with_files(self, deleted_before: datetime, *, limit: int) -> list[DocumentId]:
        return self.files

    async def file_gone(self, ids: Sequence[DocumentId]) -> None:
        assert self.storage.deleted_key == f"documents/{ids[0]}-upload"  # the files were deleted before
        self.files = []

    async def forget(self, deleted_before: datetime, *, limit: int) -> int:
        self.storage.done.append("documents")
        return 0


@dataclass
class FakePictures:
    """Fakes the pictures of retention, one of them deleted."""

    storage: FakeStorage
    deleted: list[PictureId] = field(default_factory=lambda: [PictureId(uuid7())])

    async def expire(self, reserved_before: datetime, *, now: datetime, limit: int) -> int:
        assert now - reserved_before == RESERVED_PICTURE_RETENTION
        return 0

    async def list_deleted(self, deleted_before: datetime, *, limit: int) -> list[PictureId]:
        return self.deleted

    async def forget(self, ids: Sequence[PictureId]) -> None:
        assert self.storage.deleted_key == f"pictures/{ids[0]}-small"  # the files were deleted before
        self.deleted = []
        self.storage.done.append("pictures")


def _ports(storage: FakeStorage) -> Ports:
    return fake_ports(
        documents=FakeDocuments(storage),
        document_files=storage,
        pictures=FakePictures(storage),
        picture_files=storage,
        export_files=storage,
        trip_exports=storage,
        trip_imports=storage,
        retention=storage,
        todos=storage,
        trip_statuses=storage,
        site=Site("http://testserver", advances_trips=True),
        polls=FakePolls(storage.done),
        invitations=FakeInvitations(storage.done),
        job_runs=storage,
        unconfirmed_registrations=storage,
        attachments=storage,
        files=storage,
        outbox=CountingOutbox(),
        new_id=uuid7,
    )


@pytest.mark.contract("jobs.wallet-purge.fix-once")
async def test_every_task_runs() -> None:
    storage = FakeStorage()
    await apply_retention({}, LambdaContext(), _ports(storage))
    assert sorted(storage.done) == sorted(["events", *OTHERS])
    assert [(run.job, run.count, run.error) for run in storage.runs] == [(job.name, 1, None) for job in JOBS]


async def test_a_failed_task_is_reported_and_does_not_stop_the_others() -> None:
    storage = FakeStorage(away=True)
    with pytest.raises(ExceptionGroup) as caught:
        await apply_retention({}, LambdaContext(), _ports(storage))
    assert [type(error) for error in caught.value.exceptions] == [Unavailable]
    assert sorted(storage.done) == OTHERS
    assert [(run.job, run.error) for run in storage.runs if run.error] == [("old-events", "Unavailable")]
