"""A picture: a photo that a member added to a trip, or a user's avatar."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from nomadcrew.core.errors import Conflict, Forbidden, Invalid, NotFound
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import PictureId, TripId, UserId

# Of one trip. A photo of the largest size has 10 MiB, a usual one 3.
MAX_PHOTOS = 1_000
MAX_PHOTO_BYTES = 3 * 2**30
# A photo that its client uploads itself must be complete by then.
UPLOAD_LIFETIME = timedelta(minutes=15)
# An avatar's redirect may be cached for this long; less than its link is valid.
AVATAR_CACHE_S = 300

ACCEPTED = frozenset({FileKind.JPEG, FileKind.PNG, FileKind.WEBP})


class Status(StrEnum):
    """`PROCESSING` until the renditions are stored. A `FAILED` picture has none: no decoder could read it."""

    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


class Picture(Struct, frozen=True):
    """A stored picture. `trip_id` is None for an avatar, `user_id` for a user who is gone.

    `kind` and `size_bytes` are those of the original; width and height are those of the large rendition.
    """

    id: PictureId
    trip_id: TripId | None
    user_id: UserId | None
    kind: FileKind
    size_bytes: int
    status: str
    width_px: int | None
    height_px: int | None
    created_at: datetime


class NewPicture(Struct, frozen=True):
    """A picture to reserve. `size_bytes` counts on its trip at once."""

    id: PictureId
    kind: FileKind
    size_bytes: int


class Size(Struct, frozen=True):
    """The size of a rendition: no side is longer than `longest_px`, and no picture is enlarged.

    `square` cuts the middle out.
    """

    longest_px: int
    square: bool = False


class Rendition(Struct, frozen=True):
    """A WebP picture without metadata."""

    content: bytes
    width_px: int
    height_px: int


# The largest that a phone shows, and a tile of an album at three pixels per point.
LARGE, SMALL = Size(2_048), Size(400)
AVATAR = Size(512, square=True)


def sizes_of(picture: Picture) -> Sequence[Size]:
    """The sizes of a picture's renditions, the one for `large_key` first."""
    return (AVATAR,) if picture.trip_id is None else (LARGE, SMALL)


class PictureNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("picture", code="image_not_found")


class NotPictureOwner(Forbidden):
    code = "not_image_owner"
    text = "Only the member who added this photo and the trip's admins may do that."


class TooManyPhotos(Invalid):
    code = "image_quota_exceeded"
    text = f"The trip's album is full: {MAX_PHOTOS:,} photos and {MAX_PHOTO_BYTES >> 30} GiB. Delete a photo first."


class BadPictureType(Invalid):
    code = "invalid_mime_type"
    text = "Only JPEG, PNG and WebP pictures are accepted."


class HeicNotAccepted(BadPictureType):
    text = "HEIC pictures are not accepted. Send a JPEG: on an iPhone, set the camera's formats to Most Compatible."


class PictureIncomplete(Conflict):
    code = "upload_incomplete"
    text = "The file is not there yet. Upload it with the form of the reservation, then complete it again."


def upload_key(picture_id: PictureId) -> str:
    """The key of a file as its client uploaded it. It may contain a position and is never served."""
    return f"pictures/{picture_id}-upload"


def original_key(picture_id: PictureId) -> str:
    """The key of the original without metadata. No key names a user or a trip."""
    return f"pictures/{picture_id}-original"


def large_key(picture_id: PictureId) -> str:
    return f"pictures/{picture_id}-large"


def small_key(picture_id: PictureId) -> str:
    return f"pictures/{picture_id}-small"


def keys_of(picture_id: PictureId) -> Sequence[str]:
    """The keys of all files that a picture may have."""
    return [key(picture_id) for key in (upload_key, original_key, large_key, small_key)]


def served(picture: Picture) -> tuple[str, FileKind]:
    """Key and type of the file that shows a picture: the original until the rendition is stored."""
    if picture.status == Status.READY:
        return large_key(picture.id), FileKind.WEBP
    return original_key(picture.id), picture.kind
