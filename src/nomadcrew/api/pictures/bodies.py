"""Bodies of the routes of photos and avatars."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from nomadcrew.core.files.model import MAX_FILE_BYTES
from nomadcrew.core.pictures.model import Picture
from nomadcrew.core.pictures.service import Links, Reservation


class PhotoReservationIn(Struct, rename="camel"):
    """A photo whose file the client uploads to the file store itself.

    The `name` of its file tells two photos of one size apart when a request is repeated.
    """

    mime_type: Annotated[str, Meta(max_length=100)]
    file_size: Annotated[int, Meta(ge=1, le=MAX_FILE_BYTES)]
    name: Annotated[str, Meta(max_length=255)] | None = None


class PhotoCompletionIn(Struct):
    """The `id` of a reserved photo."""

    id: UUID


class PhotoView(Struct, rename="camel"):
    """A photo. Its links are valid for 15 minutes, without a token.

    Until `status` is `ready`, `url` leads to the original without its metadata; then to a WebP picture of `width`
    and `height` pixels, and thumbnailUrl to one of at most 400 pixels.
    """

    id: UUID
    url: str
    uploaded_at: datetime
    status: str
    uploaded_by: UUID | UnsetType = UNSET
    thumbnail_url: str | UnsetType = UNSET
    width: int | UnsetType = UNSET
    height: int | UnsetType = UNSET


class PhotoUploadView(Struct):
    """A request to the file store.

    `fields` are parts of a form before the part `file`; without any, the body is the file.
    """

    method: str
    url: str
    fields: dict[str, str]


class PhotoReservationView(Struct, rename="camel"):
    id: UUID
    upload: PhotoUploadView
    expires_at: datetime


def photo_view(picture: Picture, links: Links, base_url: str) -> PhotoView:
    """A photo; `base_url` precedes links that name no host, as those of the machine host."""
    return PhotoView(
        id=picture.id,
        url=_absolute(links.url, base_url),
        uploaded_at=picture.created_at,
        status=picture.status,
        uploaded_by=UNSET if picture.user_id is None else picture.user_id,
        thumbnail_url=UNSET if links.thumbnail_url is None else _absolute(links.thumbnail_url, base_url),
        width=UNSET if picture.width_px is None else picture.width_px,
        height=UNSET if picture.height_px is None else picture.height_px,
    )


def reservation_view(reservation: Reservation) -> PhotoReservationView:
    upload = reservation.upload
    return PhotoReservationView(
        reservation.picture_id,
        PhotoUploadView(upload.method, upload.url, dict(upload.fields)),
        reservation.expires_at,
    )


def _absolute(link: str, base_url: str) -> str:
    return f"{base_url}{link}" if link.startswith("/") else link
