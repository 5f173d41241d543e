"""Photos of trips: adding, listing and deleting them; and avatars."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from msgspec import Struct

from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.files.metadata import strip_metadata
from nomadcrew.core.files.model import MAX_FILE_BYTES, BadFileType, FileKind, FileTooLarge
from nomadcrew.core.files.ports import DirectUpload, Files
from nomadcrew.core.ids import EventId, NewId, PictureId, TripId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import rule
from nomadcrew.core.pictures.model import (
    ACCEPTED,
    UPLOAD_LIFETIME,
    BadPictureType,
    HeicNotAccepted,
    NewPicture,
    Picture,
    PictureIncomplete,
    PictureNotFound,
    Status,
    keys_of,
    original_key,
    served,
    small_key,
    upload_key,
)
from nomadcrew.core.pictures.ports import Pictures
from nomadcrew.core.users.model import Profile
from nomadcrew.core.users.ports import ProfileChange, Profiles

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})


class Reservation(Struct, frozen=True):
    """A reserved photo, and the request that uploads its file."""

    picture_id: PictureId
    upload: DirectUpload
    expires_at: datetime


class Links(Struct, frozen=True):
    """Links to a picture and to its small rendition, if it has one; valid for `LINK_LIFETIME`."""

    url: str
    thumbnail_url: str | None


class PictureActions(Struct, frozen=True):
    """The actions on pictures, for one caller and one time."""

    caller: UserId
    pictures: Pictures
    files: Files
    new_id: NewId
    now: datetime

    async def add(self, trip_id: TripId, file: BinaryIO, *, fingerprint: bytes) -> Picture:
        """Store a photo without its metadata. Its renditions follow.

        The row is reserved first, and visible last: a crash leaves neither a file without a row nor a visible row
        without a file.

        Raises:
            Invalid: the file is too large, of a type that is not accepted, or damaged.
            DomainError: as `Pictures.reserve` and `Files.store` say.
        """
        kind, size_bytes = await asyncio.to_thread(strip_in_place, file)
        new = NewPicture(PictureId(self.new_id()), kind, size_bytes)
        picture_id = await self.pictures.reserve(
            self._access(trip_id, "create"), new, fingerprint=fingerprint, now=self.now
        )
        # A repeat writes the file too: the first attempt may have failed before this line.
        await self.files.store(original_key(picture_id), file, kind)
        return await self._complete(trip_id, picture_id, kind, size_bytes)

    async def reserve(
        self, trip_id: TripId, media_type: str, size_bytes: int, *, fingerprint: bytes
    ) -> Reservation:
        """Reserve a photo, whose file the client uploads to the store itself and completes then.

        Raises:
            BadPictureType: the type is not accepted.
            FileTooLarge: the file would exceed `MAX_FILE_BYTES`.
            DomainError: as `Pictures.reserve` says.
        """
        kind = _announced(media_type)
        if size_bytes > MAX_FILE_BYTES:
            raise FileTooLarge
        picture_id = await self.pictures.reserve(
            self._access(trip_id, "create"), NewPicture(PictureId(self.new_id()), kind, size_bytes),
            fingerprint=fingerprint, now=self.now,
        )  # fmt: skip
        upload = self.files.direct_upload(
            upload_key(picture_id), kind, size_bytes, now=self.now, lifetime=UPLOAD_LIFETIME
        )
        return Reservation(picture_id, upload, self.now + UPLOAD_LIFETIME)

    async def complete(self, trip_id: TripId, picture_id: PictureId) -> Picture:
        """Make a reserved photo visible once its file is in the store, from which its metadata is removed.

        The upload itself is never served, and taken once: its client could replace it for as long as the form is
        valid.

        Raises:
            PictureIncomplete: the file is not there.
            Invalid: the file is not a picture; the reservation expires.
            DomainError: as `Pictures.complete` says.
        """
        photo = await self._completed(trip_id, picture_id)
        if photo is None:
            photo = await self._complete(trip_id, picture_id, *await self._take_upload(picture_id))
        # In an outage the caller repeats the request: the sweep deletes the upload only with its photo.
        await self.files.delete(upload_key(picture_id))
        return photo

    async def page(self, trip_id: TripId, *, limit: int, after: After | None = None) -> Sequence[Picture]:
        return await self.pictures.page(self._access(trip_id, "read"), limit=limit, after=after)

    async def delete(self, trip_id: TripId, picture_id: PictureId) -> None:
        """Delete a photo and its files. In an outage of the file store, the sweep deletes them later.

        Raises:
            DomainError: as `Pictures.delete` says.
        """
        await self.pictures.delete(self._command(trip_id, "delete"), picture_id)
        with suppress(Unavailable):
            for key in keys_of(picture_id):
                await self.files.delete(key)

    async def set_avatar(self, file: BinaryIO, url_of: str, *, fingerprint: bytes, profiles: Profiles) -> Profile:
        """Store an avatar without its metadata and let the caller's profile refer to it.

        Args:
            url_of: the beginning of the avatar's URL, to which its id is appended.

        Raises:
            Invalid: the file is too large, of a type that is not accepted, or damaged.
            DomainError: as `Pictures.reserve_avatar`, `Files.store` and `Profiles.set_avatar` say.
        """
        kind, size_bytes = await asyncio.to_thread(strip_in_place, file)
        picture_id = await self.pictures.reserve_avatar(
            self.caller, NewPicture(PictureId(self.new_id()), kind, size_bytes), fingerprint=fingerprint,
            now=self.now,
        )  # fmt: skip
        await self.files.store(original_key(picture_id), file, kind)
        return await profiles.set_avatar(
            self.caller, picture_id, f"{url_of}{picture_id}", event_id=EventId(self.new_id()), now=self.now
        )

    async def delete_avatar(self, *, profiles: Profiles) -> None:
        """Clear the caller's avatar, also one that is not ours. The sweep deletes the files.

        Raises:
            DomainError: as `Profiles.change` says.
        """
        await profiles.change(self.caller, ProfileChange(avatar_url=""), self.caller, is_admin=False, now=self.now)

    def links(self, picture: Picture) -> Links:
        return links_to(picture, files=self.files, now=self.now)

    async def _take_upload(self, picture_id: PictureId) -> tuple[FileKind, int]:
        """Store an uploaded file as the original, without its metadata; returns its type and size."""
        with cast("BinaryIO", await asyncio.to_thread(TemporaryFile)) as file:
            if await self.files.fetch(upload_key(picture_id), file, max_bytes=MAX_FILE_BYTES) is None:
                raise PictureIncomplete
            arrived = await asyncio.to_thread(strip_in_place, file)
            await self.files.store(original_key(picture_id), file, arrived[0])
        return arrived

    async def _completed(self, trip_id: TripId, picture_id: PictureId) -> Picture | None:
        """The photo, if it was completed before."""
        try:
            return await self.pictures.get(self._access(trip_id, "create"), picture_id)
        except PictureNotFound:
            return None

    async def _complete(self, trip_id: TripId, picture_id: PictureId, kind: FileKind, size_bytes: int) -> Picture:
        return await self.pictures.complete(self._command(trip_id, "create"), picture_id, kind, size_bytes)

    def _access(self, trip_id: TripId, action: str) -> Access:
        return Access(trip_id, self.caller, rule("photo", action))

    def _command(self, trip_id: TripId, action: str) -> Command:
        return Command(trip_id, self.caller, rule("photo", action), EventId(self.new_id()), self.now)


async def link_to_avatar(picture_id: PictureId, *, pictures: Pictures, files: Files, now: datetime) -> str:
    """The link to an avatar's file.

    Raises:
        PictureNotFound: there is no such avatar.
    """
    avatar = await pictures.get_avatar(picture_id)
    if avatar is None:
        raise PictureNotFound
    return links_to(avatar, files=files, now=now).url


def links_to(picture: Picture, *, files: Files, now: datetime) -> Links:
    key, kind = served(picture)
    name = "avatar" if picture.trip_id is None else "photo"
    url = files.link(key, kind, f"{name}.{_suffix(kind)}", now=now)
    if picture.status != Status.READY or picture.trip_id is None:
        return Links(url, None)
    return Links(url, files.link(small_key(picture.id), FileKind.WEBP, f"{name}.webp", now=now))


def strip_in_place(file: BinaryIO) -> tuple[FileKind, int]:
    """Replace an open file by the same picture without metadata; its type and its size in bytes.

    In place, so that requests that wait for the store hold no picture in memory. Blocks.

    Raises:
        FileTooLarge: the file exceeds `MAX_FILE_BYTES`.
        BadPictureType: the type is not accepted.
        FileNotReadable, TooManyPixels: as `strip_metadata` says.
    """
    file.seek(0)
    content = file.read(MAX_FILE_BYTES + 1)
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS:
        raise HeicNotAccepted
    try:
        kind, stripped = strip_metadata(content)
    except BadFileType:
        raise BadPictureType from None
    if kind not in ACCEPTED:
        raise BadPictureType
    file.seek(0)
    file.truncate()
    file.write(stripped)
    file.flush()
    return kind, len(stripped)


def _announced(media_type: str) -> FileKind:
    """Raises BadPictureType: the type is not accepted."""
    name = media_type.strip().lower()
    if name in ("image/heic", "image/heif"):
        raise HeicNotAccepted
    kind = next((kind for kind in ACCEPTED if kind.value == name), None)
    if kind is None:
        raise BadPictureType
    return kind


def _suffix(kind: FileKind) -> str:
    return "jpg" if kind is FileKind.JPEG else kind.value.rpartition("/")[2]
