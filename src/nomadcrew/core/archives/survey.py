"""Reads an archive once before anything of it is stored."""

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from nomadcrew.core.archives.checks import check_trip, people_in, person_name
from nomadcrew.core.archives.contents import items_of
from nomadcrew.core.archives.errors import ArchiveTooLarge, BadArchive
from nomadcrew.core.archives.limits import MAX_PEOPLE, MAX_POLLS
from nomadcrew.core.archives.model import (
    TRIP,
    ArchivedDocument,
    ArchivedMessage,
    ArchivedPerson,
    ArchivedPhoto,
    ArchivedPlace,
    ArchivedPoll,
    ArchivedTrip,
)
from nomadcrew.core.archives.unpacking import Unpacking
from nomadcrew.core.documents.model import MAX_DOCUMENTS, MAX_TRIP_BYTES, QuotaExceeded
from nomadcrew.core.files.model import BadFileType, FileKind, kind_of
from nomadcrew.core.ids import AttachmentId, DocumentId, PictureId, PollId, UserId
from nomadcrew.core.pictures.model import MAX_PHOTOS, TooManyPhotos
from nomadcrew.core.trips.model import NewTrip

HEAD_BYTES = 4096

# The type of a file by its first bytes; None if it is unknown.
Detect = Callable[[bytes], FileKind | None]


class Survey(Struct, frozen=True):
    """The trip of an archive, the names of its people, and the number of files that it names but has not."""

    trip: ArchivedTrip
    new: NewTrip
    people: dict[UserId, str]
    missing_files: int


def survey(unpacking: Unpacking, *, detect: Detect) -> Survey:
    """Check all of an archive, in the memory of one item.

    Raises:
        BadArchive, UnknownVersion: it is not valid.
        ArchiveTooLarge, QuotaExceeded, TooManyPhotos: it exceeds a limit.
    """
    surveyor = _Surveyor(unpacking, detect)
    with unpacking.open(TRIP) as entry:
        for read in items_of(entry):
            surveyor.add(read.item)
    return surveyor.result()


class _Surveyor:
    def __init__(self, unpacking: Unpacking, detect: Detect) -> None:
        self._unpacking = unpacking
        self._detect = detect
        self._trip: ArchivedTrip | None = None
        self._places = 0
        self._people: dict[UserId, str] = {}
        self._named: set[UserId] = set()
        self._polls: set[PollId] = set()
        self._documents: set[DocumentId] = set()
        self._document_bytes = 0
        self._photos: set[PictureId] = set()
        self._attachments: set[AttachmentId] = set()
        self._last: datetime | None = None
        self._missing_files = 0

    def add(self, item: Struct) -> None:
        self._add_people(item)
        match item:
            case ArchivedTrip():
                self._once(self._trip is None, "trip")
                self._trip = item
            case ArchivedPlace():
                self._places += 1
                self._once(self._places == 1, "meetingPoint")
            case ArchivedPerson():
                self._once(item.id not in self._people, "a person")
                self._people[item.id] = person_name(item)
            case ArchivedPoll():
                self._once(item.id not in self._polls, "a poll")
                self._polls.add(item.id)
                if len(self._polls) > MAX_POLLS:
                    raise ArchiveTooLarge(f"An archive must not have more than {MAX_POLLS:,} polls.")
            case ArchivedDocument():
                self._document(item)
            case ArchivedPhoto():
                self._photo(item)
            case ArchivedMessage():
                self._message(item)
            case _:
                pass

    def result(self) -> Survey:
        if self._trip is None:
            raise BadArchive(details="trip.json: `trip` is missing")
        if not self._named <= self._people.keys():
            raise BadArchive(details="trip.json: an author is missing in `people`")
        return Survey(self._trip, check_trip(self._trip), self._people, self._missing_files)

    def _add_people(self, item: Struct) -> None:
        self._named.update(people_in(item))
        if len(self._named) > MAX_PEOPLE or len(self._people) > MAX_PEOPLE:
            raise ArchiveTooLarge(f"An archive must not have more than {MAX_PEOPLE:,} people.")

    def _photo(self, photo: ArchivedPhoto) -> None:
        self._once(photo.id not in self._photos, "a photo")
        self._photos.add(photo.id)
        if len(self._photos) > MAX_PHOTOS:
            raise TooManyPhotos
        self._file(photo.file, photo.media_type, photo.size_bytes)

    def _document(self, document: ArchivedDocument) -> None:
        self._once(document.id not in self._documents, "a document")
        self._documents.add(document.id)
        self._document_bytes += document.size_bytes
        # All of a new trip's wallet is in the archive.
        if len(self._documents) > MAX_DOCUMENTS or self._document_bytes > MAX_TRIP_BYTES:
            raise QuotaExceeded
        self._file(document.file, document.media_type, document.size_bytes)

    def _message(self, message: ArchivedMessage) -> None:
        if self._last is not None and message.created_at <= self._last:
            raise BadArchive(details="trip.json: the messages are not in the order of `createdAt`")
        self._last = message.created_at
        attachment = message.attachment
        if attachment is not None:
            self._once(attachment.id not in self._attachments, "an attachment")
            self._attachments.add(attachment.id)
            self._file(attachment.file, attachment.media_type, attachment.size_bytes)

    def _file(self, name: str | None, kind: FileKind, size_bytes: int) -> None:
        """Read a file to its end, which checks its CRC, and compare it with its item."""
        if name is None:
            self._missing_files += 1
            return
        with self._unpacking.open(name) as entry:
            head = entry.read(HEAD_BYTES)
            found_bytes = len(head)
            while chunk := entry.read():
                found_bytes += len(chunk)
        if found_bytes != size_bytes or self._kind(head) is not kind:
            raise BadArchive(details=f"{name}: not the file that trip.json describes")

    def _kind(self, head: bytes) -> FileKind | None:
        try:
            return kind_of(head)
        except BadFileType:
            return self._detect(head)

    def _once(self, condition: bool, what: str) -> None:
        if not condition:
            raise BadArchive(details=f"trip.json: {what} is there twice")
