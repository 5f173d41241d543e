"""The sweep of documents and their reminders, batch by batch, and the sizes of files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from io import BytesIO
from typing import BinaryIO, cast

import pytest

from nomadcrew.core.documents.metadata import description_of
from nomadcrew.core.documents.model import BadDocumentType, DocumentType, UploadIncomplete
from nomadcrew.core.documents.ports import DocumentAccess, Documents
from nomadcrew.core.documents.reminders import BATCH as REMINDED_AT_ONCE
from nomadcrew.core.documents.reminders import LEADS_DAYS, remind, reminded_day
from nomadcrew.core.documents.service import Client, DocumentActions, UploadedFile
from nomadcrew.core.documents.upkeep import BATCH, sweep
from nomadcrew.core.files.model import MAX_FILE_BYTES, FileKind, FileTooLarge
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import DocumentId, EventId, uuid7
from tests.fakes import ANA, NOON, CountingIds


@dataclass
class FakeDocuments:
    """Rows to expire, with files, to forget and to remind of; each method handles one batch at most."""

    expired: int = 0
    with_files: list[DocumentId] = field(default_factory=list)
    old: int = 0
    ending: int = 0
    days: set[date] = field(default_factory=set)

    async def expire(self, reserved_before: datetime, *, now: datetime, limit: int) -> int:
        done = min(limit, self.expired)
        self.expired -= done
        return done

    async def list_with_files(self, deleted_before: datetime, *, limit: int) -> Sequence[DocumentId]:
        return self.with_files[:limit]

    async def file_gone(self, ids: Sequence[DocumentId]) -> None:
        self.with_files = [id_ for id_ in self.with_files if id_ not in ids]

    async def forget(self, deleted_before: datetime, *, limit: int) -> int:
        done = min(limit, self.old)
        self.old -= done
        return done

    async def get_completed(self, access: DocumentAccess) -> None:
        return None

    async def remind(
        self, today: date, leads_days: Sequence[int], event_ids: Sequence[EventId], *, now: datetime
    ) -> int:
        assert leads_days == LEADS_DAYS
        self.days.add(today)
        done = min(len(event_ids), self.ending)
        self.ending -= done
        return done


@dataclass
class FakeFiles:
    """Records deleted keys; every file has `size_bytes`."""

    size_bytes: int | None = None
    deleted: list[str] = field(default_factory=list)

    async def delete(self, key: str) -> None:
        self.deleted.append(key)

    async def fetch(self, key: str, into: BinaryIO, *, max_bytes: int) -> int | None:
        return self.size_bytes


async def test_the_sweep_goes_on_until_nothing_is_left() -> None:
    ids = [DocumentId(uuid7()) for _ in range(BATCH + 1)]
    documents, files = FakeDocuments(expired=2 * BATCH + 1, with_files=list(ids), old=2 * BATCH), FakeFiles()
    swept = await sweep(documents=cast(Documents, documents), files=cast(Files, files), now=NOON)
    assert swept == len(ids) + 2 * BATCH
    assert files.deleted == [f"documents/{id_}{suffix}" for id_ in ids for suffix in ("", "-upload")]
    assert (documents.expired, documents.with_files, documents.old) == (0, [], 0)


async def test_all_due_reminders_are_written() -> None:
    documents = FakeDocuments(ending=2 * REMINDED_AT_ONCE + 3)
    assert await remind(documents=cast(Documents, documents), new_id=CountingIds(), now=NOON) == 203
    assert (documents.ending, documents.days) == (0, {NOON.date()})


def test_a_day_of_reminders_begins_at_nine() -> None:
    assert reminded_day(datetime(2027, 2, 3, 8, 59, tzinfo=UTC)) == date(2027, 2, 2)
    assert reminded_day(datetime(2027, 2, 3, 9, 0, tzinfo=UTC)) == date(2027, 2, 3)


def actions(files: FakeFiles) -> DocumentActions:
    client = Client("203.0.113.7", "a phone")
    return DocumentActions(ANA, client, cast(Documents, FakeDocuments()), cast(Files, files), CountingIds(), NOON)


@pytest.mark.parametrize(("size", "refusal"), [(0, BadDocumentType), (MAX_FILE_BYTES + 1, FileTooLarge)])
async def test_empty_and_too_large_files_are_refused(size: int, refusal: type[Exception]) -> None:
    texts = description_of(DocumentType.OTHER, "x", None, None)
    acting = actions(FakeFiles(size))

    def detect(_: bytes) -> FileKind:
        return FileKind.PDF

    with pytest.raises(refusal):
        await acting.upload(None, texts, UploadedFile(BytesIO(), size), detect=detect, fingerprint=b"")
    with pytest.raises(refusal):
        await acting.reserve(None, texts, "application/pdf", size, fingerprint=b"")
    with pytest.raises(refusal):
        await acting.complete(DocumentId(uuid7()), detect=detect)


async def test_a_document_whose_file_is_not_in_the_store_is_incomplete() -> None:
    with pytest.raises(UploadIncomplete):
        await actions(FakeFiles(None)).complete(DocumentId(uuid7()), detect=lambda _: FileKind.PDF)
