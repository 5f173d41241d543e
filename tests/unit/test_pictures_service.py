"""Photos and their renditions, on fakes: refusals, outages, and pictures that go while they are rendered."""

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from typing import Any, BinaryIO, cast
from uuid import uuid4

import pytest

from nomadcrew.core.access import Access
from nomadcrew.core.backgrounds.model import FoundPhoto
from nomadcrew.core.backgrounds.ports import Backgrounds
from nomadcrew.core.backgrounds.service import fill_background
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.files.model import MAX_FILE_BYTES, FileKind, FileNotReadable, FileTooLarge
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import EventId, PictureId, TripId
from nomadcrew.core.pictures.model import (
    BadPictureType,
    HeicNotAccepted,
    NewPicture,
    Picture,
    PictureIncomplete,
    PictureNotFound,
    Rendition,
    Size,
)
from nomadcrew.core.pictures.ports import Pictures
from nomadcrew.core.pictures.rendering import render
from nomadcrew.core.pictures.service import PictureActions, strip_in_place
from tests.fakes import ANA, NOON, CountingIds
from tests.sample_files import HEIC, HEIF, JPEG_OF_A_PHONE, PDF, SECRET

TRIP, PHOTO = TripId(uuid4()), PictureId(uuid4())


class FakeFiles:
    """`Files` in a dict; an outage while `away`."""

    def __init__(self, **stored: bytes) -> None:
        self.stored = {f"pictures/{PHOTO}-{name}": content for name, content in stored.items()}
        self.away = False

    async def fetch(self, key: str, into: BinaryIO, *, max_bytes: int) -> int | None:
        if key not in self.stored:
            return None
        into.write(self.stored[key][:max_bytes])
        return len(self.stored[key])

    async def store(self, key: str, file: BinaryIO, kind: FileKind) -> None:
        file.seek(0)
        await self.put(key, file.read(), kind)

    async def put(self, key: str, content: bytes, kind: FileKind) -> None:
        self._reach()
        self.stored[key] = content

    async def delete(self, key: str) -> None:
        self._reach()
        self.stored.pop(key, None)

    def names(self) -> set[str]:
        return {key.removeprefix(f"pictures/{PHOTO}-") for key in self.stored}

    def _reach(self) -> None:
        if self.away:
            raise Unavailable


class FakePictures:
    """`Pictures` with one photo; `sizes` records its renditions."""

    def __init__(self, *, trip_id: TripId | None = TRIP) -> None:
        self.photo = Picture(PHOTO, trip_id, ANA, FileKind.JPEG, 10, "processing", None, None, NOON)
        self.is_complete = False
        self.sizes: list[tuple[int, int] | None] = []
        self.deleted: list[PictureId] = []

    async def reserve(self, _access: Access, _new: NewPicture, **_: Any) -> PictureId:
        return PHOTO

    async def complete(self, *_: Any) -> Picture:
        return self.photo

    async def get(self, _access: Access, _picture_id: PictureId) -> Picture:
        if not self.is_complete:
            raise PictureNotFound
        return self.photo

    async def delete(self, _command: Any, picture_id: PictureId) -> None:
        self.deleted.append(picture_id)

    async def get_unrendered(self, picture_id: PictureId) -> Picture | None:
        return self.photo if picture_id == PHOTO else None

    async def rendered(
        self, picture_id: PictureId, size_px: tuple[int, int] | None, event_id: EventId, *, now: datetime
    ) -> None:
        self.sizes.append(size_px)


class FakeRenderer:
    """`Renderer` whose renditions are as wide as asked; `failure` is raised instead."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.seen = b""

    async def render(self, original: BinaryIO, sizes: Sequence[Size]) -> Sequence[Rendition]:
        original.seek(0)
        self.seen = original.read()
        if self.failure is not None:
            raise self.failure
        return [Rendition(b"%d" % size.longest_px, size.longest_px, 9) for size in sizes]


def actions(files: FakeFiles, pictures: FakePictures | None = None) -> PictureActions:
    ports = cast("Pictures", pictures or FakePictures()), cast("Files", files)
    return PictureActions(ANA, *ports, CountingIds(), NOON)


async def rendered(
    files: FakeFiles, pictures: FakePictures, renderer: FakeRenderer, id_: PictureId = PHOTO
) -> bool:
    return await render(
        id_, EventId(uuid4()), pictures=cast("Pictures", pictures), files=cast("Files", files),
        renderer=renderer, now=NOON,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (HEIC, HeicNotAccepted), (HEIF, HeicNotAccepted), (PDF, BadPictureType), (b"", BadPictureType),
        (b"GIF89a", BadPictureType), (JPEG_OF_A_PHONE[:20], FileNotReadable),
        (JPEG_OF_A_PHONE + bytes(MAX_FILE_BYTES), FileTooLarge),
    ],
)  # fmt: skip
def test_a_refused_file_is_left_as_it_is(content: bytes, refusal: type[Exception]) -> None:
    file = BytesIO(content)
    with pytest.raises(refusal):
        strip_in_place(file)
    assert file.getvalue() == content


def test_a_picture_is_replaced_by_itself_without_metadata() -> None:
    file = BytesIO(JPEG_OF_A_PHONE)
    file.seek(99)
    kind, size_bytes = strip_in_place(file)
    assert (kind, size_bytes) == (FileKind.JPEG, len(file.getvalue()))
    assert SECRET not in file.getvalue()


@pytest.mark.parametrize(
    ("media_type", "size_bytes", "refusal"),
    [
        ("image/heic", 1, HeicNotAccepted), ("image/gif", 1, BadPictureType),
        ("application/pdf", 1, BadPictureType), (" IMAGE/JPEG ", MAX_FILE_BYTES + 1, FileTooLarge),
    ],
)  # fmt: skip
async def test_a_file_that_would_be_refused_is_not_reserved(
    media_type: str, size_bytes: int, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await actions(FakeFiles()).reserve(TRIP, media_type, size_bytes, fingerprint=b"x")


async def test_a_photo_whose_file_is_not_stored_is_not_completed() -> None:
    files, pictures = FakeFiles(), FakePictures()
    files.away = True
    pictures.complete = None  # type: ignore[assignment,method-assign]
    with pytest.raises(Unavailable):
        await actions(files, pictures).add(TRIP, BytesIO(JPEG_OF_A_PHONE), fingerprint=b"x")


async def test_an_upload_is_deleted_once_its_original_is_stored() -> None:
    files = FakeFiles(upload=JPEG_OF_A_PHONE)
    await actions(files).complete(TRIP, PHOTO)
    assert files.names() == {"original"}
    assert SECRET not in files.stored[f"pictures/{PHOTO}-original"]


async def test_without_an_upload_a_photo_is_incomplete_unless_it_was_completed_before() -> None:
    pictures = FakePictures()
    with pytest.raises(PictureIncomplete):
        await actions(FakeFiles(), pictures).complete(TRIP, PHOTO)
    pictures.is_complete = True
    assert await actions(FakeFiles(), pictures).complete(TRIP, PHOTO) == pictures.photo


async def test_a_photo_is_deleted_also_while_the_file_store_is_away() -> None:
    files, pictures = FakeFiles(original=b"x"), FakePictures()
    files.away = True
    await actions(files, pictures).delete(TRIP, PHOTO)
    assert pictures.deleted == [PHOTO]


@pytest.mark.parametrize(
    ("trip_id", "names", "size"),
    [(TRIP, {"original", "large", "small"}, (2_048, 9)), (None, {"original", "large"}, (512, 9))],
)
async def test_a_photo_has_two_renditions_and_an_avatar_one(
    trip_id: TripId | None, names: set[str], size: tuple[int, int]
) -> None:
    files, pictures, renderer = FakeFiles(original=b"a picture"), FakePictures(trip_id=trip_id), FakeRenderer()
    assert await rendered(files, pictures, renderer)
    assert renderer.seen == b"a picture"
    assert files.names() == names
    assert pictures.sizes == [size]


async def test_a_picture_that_cannot_be_decoded_is_recorded_as_failed() -> None:
    files, pictures = FakeFiles(original=b"x"), FakePictures()
    assert await rendered(files, pictures, FakeRenderer(FileNotReadable()))
    assert (files.names(), pictures.sizes) == ({"original"}, [None])


async def test_a_picture_without_work_is_left_alone() -> None:
    pictures, renderer = FakePictures(), FakeRenderer()
    assert not await rendered(FakeFiles(), pictures, renderer)  # deleted since, with its files
    assert not await rendered(FakeFiles(original=b"x"), pictures, renderer, PictureId(uuid4()))
    assert (pictures.sizes, renderer.seen) == ([], b"")


@pytest.mark.parametrize("outage", ["files", "renderer"])
async def test_in_an_outage_the_job_is_retried(outage: str) -> None:
    files, pictures = FakeFiles(original=b"x"), FakePictures()
    files.away = outage == "files"
    with pytest.raises(Unavailable):
        await rendered(files, pictures, FakeRenderer(Unavailable() if outage == "renderer" else None))
    assert pictures.sizes == []


class FakeBackgrounds:
    """`Backgrounds` of one trip, and `PhotoSearch` that finds `photo`."""

    def __init__(self, query: str | None, photo: FoundPhoto | None) -> None:
        self.query, self.photo = query, photo
        self.asked: list[str] = []
        self.filled: list[FoundPhoto] = []

    async def get_query(self, _trip_id: TripId) -> str | None:
        return self.query

    async def find(self, query: str) -> FoundPhoto | None:
        self.asked.append(query)
        return self.photo

    async def fill(self, _trip_id: TripId, photo: FoundPhoto, _event_id: EventId, *, now: datetime) -> bool:
        self.filled.append(photo)
        return True


FOUND = FoundPhoto("https://images.pexels.com/a.jpeg", "Nuno", "https://www.pexels.com/photo/a/")


@pytest.mark.parametrize(("query", "photo", "asked"), [("Porto", FOUND, 1), ("Porto", None, 1), (None, FOUND, 0)])
async def test_a_trip_is_filled_if_it_needs_a_picture_and_one_is_found(
    query: str | None, photo: FoundPhoto | None, asked: int
) -> None:
    fake = FakeBackgrounds(query, photo)
    changed = await fill_background(
        TRIP, EventId(uuid4()), backgrounds=cast("Backgrounds", fake), photo_search=fake, now=NOON
    )
    assert changed is bool(query and photo)
    assert len(fake.asked) == asked
    assert fake.filled == ([FOUND] if changed else [])
