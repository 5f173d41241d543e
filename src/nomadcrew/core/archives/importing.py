"""Imports an archive as a new trip of its caller.

Ids derive from the id of the new trip and the archived ones, so that an attempt after a crash stores the same rows
and files. Other people are not made members: a name without an account stands for each.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import BinaryIO, cast

from msgspec import Struct
from msgspec.structs import replace

from nomadcrew.core.access import Access
from nomadcrew.core.archives.checks import check_document
from nomadcrew.core.archives.contents import ReadItem, items_of
from nomadcrew.core.archives.model import (
    TRIP,
    ArchivedDocument,
    ArchivedMessage,
    ArchivedPhoto,
    ArchivedPlace,
    ArchivedPoll,
    ArchivedTodo,
)
from nomadcrew.core.archives.ports import ImportedDocument, ImportedPerson, NewImport, Parts, TripImports
from nomadcrew.core.archives.restored import Restored, attached_file, restored_attachment
from nomadcrew.core.archives.survey import Detect, Survey, survey
from nomadcrew.core.archives.unpacking import Unpacking
from nomadcrew.core.chat.model import key_of as attachment_key
from nomadcrew.core.chat.ports import ChatLog
from nomadcrew.core.documents.model import key_of as document_key
from nomadcrew.core.files.metadata import strip_metadata
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import EventId, MembershipId, NewId, TripId, UserId
from nomadcrew.core.permissions import rule
from nomadcrew.core.pictures.model import original_key
from nomadcrew.core.trips.model import Trip
from nomadcrew.core.trips.ports import Trips

# A statement with more would be too large for the Data API.
BATCH, BATCH_BYTES = 100, 512 * 1024


class ImportPorts(Struct, frozen=True):
    """The ports that an import writes to."""

    imports: TripImports
    trips: Trips
    chat: ChatLog
    files: Files  # attachments
    document_files: Files
    picture_files: Files


class Imported(Struct, frozen=True):
    """The new trip. `missing_files` counts documents, photos and attachments whose file is not in the archive."""

    trip: Trip
    missing_files: int


async def import_trip(
    file: BinaryIO,
    size_bytes: int,
    caller: UserId,
    *,
    ports: ImportPorts,
    detect: Detect,
    fingerprint: bytes,
    new_id: NewId,
    now: datetime,
) -> Imported:
    """Import an archive. The same one again within a day, by `fingerprint`, returns the trip of the first import.

    Everything is checked before anything is stored.

    Raises:
        Invalid: the archive is not valid, or exceeds the quota of documents.
        ArchiveTooLarge: it exceeds a limit.
        DomainError: as `TripImports` says.
    """
    unpacking = await asyncio.to_thread(Unpacking, file, size_bytes)
    surveyed = await asyncio.to_thread(survey, unpacking, detect=detect)
    archived = surveyed.trip
    new = NewImport(
        TripId(new_id()), surveyed.new, archived.created_at, archived.updated_at, caller, fingerprint, now
    )
    begun = await ports.imports.begin(new)
    new = replace(new, trip_id=begun.trip_id)
    if not begun.is_finished:
        stored = await _Import(new, surveyed, unpacking, ports).run()
        await ports.imports.finish(new, stored, membership_id=MembershipId(new_id()), event_id=EventId(new_id()))
    trip = await ports.trips.get(Access(new.trip_id, caller, rule("trip", "read")))
    return Imported(trip, surveyed.missing_files)


class _Import:
    def __init__(self, new: NewImport, surveyed: Survey, unpacking: Unpacking, ports: ImportPorts) -> None:
        self._trip_id = new.trip_id
        self._now = new.now
        self._people = surveyed.people
        self._unpacking = unpacking
        self._ports = ports
        self._restored = Restored(new.trip_id, new.caller, surveyed.people)
        self._documents = self._photos = self._attachments = 0
        self._number = 1

    async def run(self) -> Parts:
        await self._add_people()
        with self._unpacking.open(TRIP) as entry:
            batches = _batches(items_of(entry))
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                await self._add(batch)
        return Parts(self._documents, self._photos, self._attachments)

    async def _add_people(self) -> None:
        people = [
            ImportedPerson(self._restored.person(user_id), name)
            for user_id, name in self._people.items()
            if not self._restored.is_caller(user_id)
        ]
        for start in range(0, len(people), BATCH):
            await self._ports.imports.add_people(self._trip_id, people[start : start + BATCH], now=self._now)

    async def _add(self, items: Sequence[Struct]) -> None:
        """Store items of one type."""
        imports = self._ports.imports
        match items[0]:
            case ArchivedPlace() as place:
                await imports.add_meeting_point(self._trip_id, self._restored.place(place))
            case ArchivedTodo():
                todos = [self._restored.todo(item) for item in cast("Sequence[ArchivedTodo]", items)]
                await imports.add_todos(self._trip_id, todos)
            case ArchivedPoll():
                polls = [self._restored.poll(item) for item in cast("Sequence[ArchivedPoll]", items)]
                await imports.add_polls(self._trip_id, polls)
            case ArchivedDocument():
                await self._add_documents(cast("Sequence[ArchivedDocument]", items))
            case ArchivedPhoto():
                await self._add_photos(cast("Sequence[ArchivedPhoto]", items))
            case ArchivedMessage():
                await self._add_messages(cast("Sequence[ArchivedMessage]", items))
            case _:
                pass  # the trip and the people are there already

    async def _add_documents(self, items: Sequence[ArchivedDocument]) -> None:
        """Store documents whose files are in the archive: rows first, as every file has a row."""
        present = [item for item in items if item.file is not None]
        documents = [self._restored.document(item) for item in present]
        await self._ports.imports.add_documents(
            self._trip_id,
            [
                ImportedDocument(document, check_document(item).ends_on)
                for document, item in zip(documents, present, strict=True)
            ],
        )
        for document, item in zip(documents, present, strict=True):
            content = await asyncio.to_thread(self._unpacking.read, item.file or "")
            await self._ports.document_files.put(document_key(document.id), content, document.kind)
        self._documents += len(documents)

    async def _add_photos(self, items: Sequence[ArchivedPhoto]) -> None:
        for item in items:
            if item.file is not None:
                kind, content = await asyncio.to_thread(self._stripped, item.file)
                photo = self._restored.photo(item, kind, len(content))
                await self._ports.imports.add_photo(self._trip_id, photo)
                await self._ports.picture_files.put(original_key(photo.id), content, kind)
                self._photos += 1

    async def _add_messages(self, items: Sequence[ArchivedMessage]) -> None:
        messages = []
        for item in items:
            message = self._restored.message(item)
            name = attached_file(item)
            if item.attachment is not None and name is not None:
                kind, content = await asyncio.to_thread(self._stripped, name)
                attachment = restored_attachment(self._trip_id, item.attachment, kind, len(content))
                await self._ports.imports.add_attachments(
                    self._trip_id, [self._restored.attached(message.message, attachment)]
                )
                await self._ports.files.put(attachment_key(self._trip_id, attachment.id), content, kind)
                message = replace(message, message=replace(message.message, attachment=attachment))
                self._attachments += 1
            messages.append(message)
        await self._ports.chat.restore(self._trip_id, messages, first_number=self._number)
        self._number += len(messages)

    def _stripped(self, name: str) -> tuple[FileKind, bytes]:
        return strip_metadata(self._unpacking.read(name))


def _batches(items: Iterable[ReadItem]) -> Iterator[Sequence[Struct]]:
    """Consecutive items of one type, few enough for a statement. There is one item at least, the trip."""
    batch: list[Struct] = []
    size_bytes = 0
    for read in items:
        is_full = len(batch) == BATCH or size_bytes + read.size_bytes > BATCH_BYTES
        if batch and (is_full or type(read.item) is not type(batch[0])):
            yield batch
            batch, size_bytes = [], 0
        batch.append(read.item)
        size_bytes += read.size_bytes
    yield batch
