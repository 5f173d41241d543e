"""An export whose parts are missing, deleted meanwhile or too many."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from io import BytesIO
from typing import Any, cast
from uuid import uuid4
from zipfile import ZipFile

import pytest
from msgspec.structs import replace

from nomadcrew.core.archives.export import ExportRequest, TripSources, export_trip
from nomadcrew.core.archives.jobs import ExportJob, run_export
from nomadcrew.core.archives.packing import TooLarge
from nomadcrew.core.archives.ports import PendingExport, TripExports
from nomadcrew.core.chat.model import Attachment, Message, Transcribed, TranscriptPage
from nomadcrew.core.documents.model import Document, DocumentNotFound, DocumentPage, DocumentType
from nomadcrew.core.documents.service import Client
from nomadcrew.core.errors import NotFound
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.files.ports import Beginning, Files
from nomadcrew.core.ids import (
    AttachmentId,
    DocumentId,
    ExportId,
    MessageId,
    PictureId,
    PollId,
    PollOptionId,
    TodoId,
    TripId,
    UserId,
    uuid7,
)
from nomadcrew.core.locations.model import (
    MAX_READ,
    MeetingPoint,
    Owner,
    Privacy,
    Reader,
    StoredPoint,
    Track,
)
from nomadcrew.core.pictures.model import Picture
from nomadcrew.core.polls.model import Ballot, Kind, Option, Poll, PollPage, PollStatus, Vote
from nomadcrew.core.todos.model import Todo, TodoPage
from nomadcrew.core.trips.model import Trip
from tests.fakes import ANA, BEN, NOON, CountingOutbox

TRIP = TripId(uuid7())


@dataclass
class FakeSources:
    """Every port of an export, with these answers."""

    todos: list[Todo] = field(default_factory=list)
    polls: list[Poll] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    photos: list[Picture] = field(default_factory=list)
    messages: list[Transcribed] = field(default_factory=list)
    points: list[StoredPoint] = field(default_factory=list)
    point: MeetingPoint | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    deleted: set[DocumentId] = field(default_factory=set)
    created_by: UserId | None = None
    spans: list[timedelta] = field(default_factory=list)

    def sources(self) -> TripSources:
        return TripSources(**{name: cast("Any", _Port(self, name)) for name in TripSources.__struct_fields__})

    async def trips_get(self, _: object) -> Trip:
        return Trip(
            TRIP, "Porto", "", None, None, None, 0, 0, date(2026, 12, 1), date(2026, 12, 9), "PLANNING",
            self.created_by, NOON, NOON, "", "Europe/Lisbon", 0,
        )  # fmt: skip

    async def meeting_points_get(self, _: object) -> MeetingPoint:
        if self.point is None:
            raise NotFound("meeting point")
        return self.point

    async def todos_page(self, *_: object, limit: int, offset: int, after: Any) -> TodoPage:
        return TodoPage(_page(self.todos, after, limit), len(self.todos))

    async def polls_page(self, *_: object, limit: int, offset: int, after: Any) -> PollPage:
        return PollPage(self.polls, len(self.polls), None)

    async def documents_page(self, *_: object, limit: int, after: Any) -> DocumentPage:
        return DocumentPage(_page(self.documents, after, limit), len(self.documents))

    async def documents_download(self, grant: Any, _: object) -> None:
        if grant.document_id in self.deleted:
            raise DocumentNotFound

    async def pictures_page(self, *_: object, limit: int, after: Any) -> Sequence[Picture]:
        return _page(self.photos, after, limit)

    async def chat_transcript(self, _: object, cursor: str | None, *, limit: int) -> TranscriptPage:
        start = int(cursor or 0)
        end = start + limit
        return TranscriptPage(self.messages[start:end], str(end) if end < len(self.messages) else None)

    async def positions_track(self, *_: object, start: datetime, end: datetime) -> Track:
        self.spans.append(end - start)
        points = [point for point in self.points if start <= point.recorded_at < end]
        owner = Owner(ANA, NOON, None, False, None)
        return Track(Reader(ANA, NOON), False, owner, points[:MAX_READ])

    async def profiles_get(self, user_id: UserId, _: object) -> None:
        raise NotFound("user", user_id)

    async def files_beginning(self, key: str, length: int) -> Beginning | None:
        content = self.files.get(key)
        return None if content is None else Beginning(content[:length], len(content))

    document_files_beginning = picture_files_beginning = files_beginning


class _Port:
    """The methods of one port among those of `FakeSources`."""

    def __init__(self, sources: FakeSources, name: str) -> None:
        self._sources, self._name = sources, name

    def __getattr__(self, method: str) -> Any:
        return getattr(self._sources, f"{self._name}_{method}")


def _page(items: Sequence[Any], after: Any, limit: int) -> Sequence[Any]:
    start = 0 if after is None else next(n + 1 for n, item in enumerate(items) if item.id == after.id)
    return items[start : start + limit]


async def exported(fake: FakeSources, *, max_bytes: int | None = None, with_files: bool = True) -> dict[str, Any]:
    target = BytesIO()
    request = ExportRequest(TRIP, ANA, Client("", ""), NOON, with_files=with_files, max_bytes=max_bytes)
    await export_trip(
        request, target, sources=fake.sources(), write_calendar=lambda entries: b"%d" % len(entries.todos)
    )
    with ZipFile(target) as archive:
        assert archive.testzip() is None
        trip: dict[str, Any] = json.loads(archive.read("trip.json"))
        return trip | {"entries": archive.namelist(), "ics": archive.read("trip.ics")}


def a_document() -> Document:
    return Document(
        DocumentId(uuid4()), None, TRIP, DocumentType.OTHER, "Map", None, {}, FileKind.PDF, 4, NOON, NOON
    )


def a_photo(user_id: UserId | None = None) -> Picture:
    return Picture(PictureId(uuid4()), TRIP, user_id, FileKind.JPEG, 3, "ready", None, None, NOON)


def a_message(attachment: Attachment | None = None) -> Transcribed:
    return Transcribed(Message(MessageId(uuid4()), TRIP, None, "hello", None, NOON, attachment=attachment))


async def test_a_trip_without_anything_is_exported() -> None:
    archive = await exported(FakeSources())
    assert (archive["people"], archive["messages"], "createdBy" in archive["trip"]) == ([], [], False)


async def test_people_without_a_profile_are_former_members() -> None:
    todo = Todo(TodoId(uuid4()), TRIP, "pack", "COMPLETE", BEN, NOON, NOON, ANA, NOON)
    poll = Poll(
        PollId(uuid4()), TRIP, "How?", Kind.CHOICE, Ballot.OPEN, False, False, False, PollStatus.CLOSED, BEN, ANA,
        NOON, NOON, NOON, NOON, [Option(PollOptionId(uuid4()), "bus", 0, BEN, NOON, None, (Vote(ANA, NOON),))],
    )  # fmt: skip
    place = MeetingPoint(1, 2, "x", 100, BEN, NOON)
    archive = await exported(FakeSources([todo], [poll], point=place, created_by=BEN))
    assert {person["name"] for person in archive["people"]} == {"Former member"}
    assert {person["id"] for person in archive["people"]} == {str(ANA), str(BEN)}
    unknown = await exported(FakeSources(point=replace(place, set_by=None)))
    assert "setBy" not in unknown["meetingPoint"]


async def test_files_that_are_gone_are_left_out() -> None:
    there, deleted, lost = a_document(), a_document(), a_document()
    picture = Attachment(AttachmentId(uuid4()), FileKind.PNG, 3, "a.png")
    photo, gone = a_photo(), a_photo()
    archive = await exported(
        FakeSources(
            documents=[there, deleted, lost],
            photos=[photo, gone],
            messages=[a_message(picture)],
            files={f"documents/{there.id}": b"%PDF", f"pictures/{photo.id}-original": b"jpg"},
            deleted={deleted.id},
        )
    )
    assert [document["id"] for document in archive["documents"]] == [str(there.id)]
    assert "file" not in archive["messages"][0]["attachment"]
    assert [shown["id"] for shown in archive["photos"]] == [str(photo.id)]
    assert archive["entries"][:2] == [f"documents/{there.id}.pdf", f"photos/{photo.id}.jpg"]


async def test_every_page_is_read() -> None:
    todos = [Todo(TodoId(uuid4()), TRIP, f"{n}", "COMPLETE", BEN, NOON, NOON, None, NOON) for n in range(600)]
    documents = [a_document() for _ in range(250)]
    photos = [a_photo(BEN) for _ in range(250)]
    fake = FakeSources(todos, documents=documents, photos=photos, messages=[a_message() for _ in range(300)])
    archive = await exported(fake, with_files=False)
    assert [todo["text"] for todo in archive["todos"]] == [f"{n}" for n in range(600)]
    assert (len(archive["documents"]), len(archive["photos"]), len(archive["messages"])) == (250, 250, 300)
    assert archive["ics"] == b"500"  # the calendar has a limit


async def test_a_track_that_a_store_would_thin_is_read_in_shorter_spans() -> None:
    at = NOON - timedelta(days=1)
    points = [
        StoredPoint(1, n / 100, at + timedelta(seconds=n), NOON, Privacy.PRECISE) for n in range(2 * MAX_READ + 100)
    ]
    fake = FakeSources(points=points)
    archive = await exported(fake)
    assert [point["longitude"] for point in archive["positions"]] == [point.longitude for point in points]
    assert max(fake.spans) > timedelta(days=30)


async def test_too_many_points_in_a_minute_are_as_the_store_thins_them() -> None:
    at = NOON - timedelta(days=1)
    points = [
        StoredPoint(1, 1, at + timedelta(microseconds=n), NOON, Privacy.PRECISE) for n in range(MAX_READ + 10)
    ]
    assert len((await exported(FakeSources(points=points)))["positions"]) == MAX_READ


@pytest.mark.parametrize("where", ["files", "texts", "packed"])
async def test_an_archive_above_its_limit_is_abandoned(where: str) -> None:
    document = a_document()
    fake = FakeSources(documents=[document], files={f"documents/{document.id}": b"%PDF" + bytes(range(256)) * 40})
    if where != "files":
        fake = FakeSources(messages=[a_message() for _ in range(3_000)])
    with pytest.raises(TooLarge):
        await exported(fake, max_bytes=10_000 if where != "packed" else 30_000)


class OneExport:
    """An export that waits; `refused` says whether it was refused."""

    refused = False

    async def pending(self, _: object) -> PendingExport:
        return PendingExport(TRIP, ANA, with_files=True)

    async def refuse(self, _: object) -> None:
        self.refused = True


async def test_a_job_whose_archive_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nomadcrew.core.archives.jobs.MAX_EXPORT_BYTES", 100)
    exports = OneExport()
    await run_export(
        ExportJob(ExportId(uuid7()), "", ""),
        exports=cast("TripExports", exports),
        files=cast("Files", None),
        sources=FakeSources().sources(),
        outbox=CountingOutbox(),
        write_calendar=lambda _: b"",
        new_id=uuid7,
        now=NOON,
    )
    assert exports.refused
