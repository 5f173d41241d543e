"""Ports of pictures."""

from collections.abc import Sequence
from datetime import datetime
from typing import BinaryIO, Protocol

from nomadcrew.core.access import Access, Command
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import EventId, PictureId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.pictures.model import NewPicture, Picture, Rendition, Size


class Pictures(Protocol):
    """The rows of pictures; `Files` stores their bytes. `Profiles.set_avatar` makes an avatar visible.

    A reserved picture is visible to `complete` only, and a deleted one to none. Events of a method are stored in
    its transaction. Every method with an access raises `NotOnboarded`, `NotTripMember` and `NotFound` (a deleted
    trip).
    """

    async def reserve(self, access: Access, new: NewPicture, *, fingerprint: bytes, now: datetime) -> PictureId:
        """Reserve room for a photo. A repeat, by `fingerprint`, returns the id of the first.

        Raises:
            TooManyPhotos: the trip has no room, concurrent uploads included.
        """
        ...

    async def reserve_avatar(
        self, caller: UserId, new: NewPicture, *, fingerprint: bytes, now: datetime
    ) -> PictureId:
        """Reserve an avatar. A repeat, by `fingerprint`, returns the id of the first.

        Raises:
            NotOnboarded: the caller has no profile.
        """
        ...

    async def complete(self, command: Command, picture_id: PictureId, kind: FileKind, size_bytes: int) -> Picture:
        """Make a reserved photo of the caller visible. A repeat returns the photo.

        Raises:
            PictureNotFound: the caller reserved no such photo, or it has expired.
        """
        ...

    async def get(self, access: Access, picture_id: PictureId) -> Picture:
        """A visible photo of the trip. Raises `PictureNotFound`."""
        ...

    async def page(self, access: Access, *, limit: int, after: After | None = None) -> Sequence[Picture]:
        """The photos of a trip below `after`, newest first."""
        ...

    async def delete(self, command: Command, picture_id: PictureId) -> None:
        """Delete a photo.

        Raises:
            PictureNotFound: the trip has no such photo.
            NotPictureOwner: below the rule.
        """
        ...

    async def get_avatar(self, picture_id: PictureId) -> Picture | None:
        """A visible avatar, for callers without a token."""
        ...

    async def get_unrendered(self, picture_id: PictureId) -> Picture | None:
        """A visible picture whose renditions are not stored; None if there is none to make."""
        ...

    async def rendered(
        self, picture_id: PictureId, size_px: tuple[int, int] | None, event_id: EventId, *, now: datetime
    ) -> None:
        """Record that the renditions are stored, with width and height of the large one; None: they failed.

        A repeat has no effect, and neither has a picture that was deleted.
        """
        ...

    async def expire(self, reserved_before: datetime, *, now: datetime, limit: int) -> int:
        """Delete pictures that were reserved before and never completed, and those of deleted trips and users.

        Returns their number.
        """
        ...

    async def list_deleted(self, deleted_before: datetime, *, limit: int) -> Sequence[PictureId]:
        """Pictures deleted before, the oldest deletion first."""
        ...

    async def forget(self, ids: Sequence[PictureId]) -> None:
        """Delete the rows of these deleted pictures, whose files are gone."""
        ...


class Renderer(Protocol):
    async def render(self, original: BinaryIO, sizes: Sequence[Size]) -> Sequence[Rendition]:
        """Renditions of an open file, one for each size, upright and in sRGB.

        A hostile picture takes bounded memory and time, and cannot end the calling process on one machine.

        Raises:
            FileNotReadable: no decoder can read it.
            TooManyPixels: it would take too much memory.
            Unavailable: not rendered in time; retry later.
        """
        ...
