"""Photos of trips and avatars: /v1/trips/{id}/images, /v1/users/me/avatar and /v1/avatars."""

from typing import BinaryIO

from nomadcrew.api.pictures.bodies import (
    PhotoCompletionIn,
    PhotoReservationIn,
    PhotoReservationView,
    PhotoView,
    photo_view,
    reservation_view,
)
from nomadcrew.api.users.bodies import UserProfile, own_profile
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import PictureId
from nomadcrew.core.pages import After
from nomadcrew.core.pictures.model import AVATAR_CACHE_S, Picture, PictureNotFound
from nomadcrew.core.pictures.service import PictureActions, link_to_avatar
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.form_data import MAX_FORM_BYTES
from nomadcrew.web.pages import AFTER, after_of, last_of, paged
from nomadcrew.web.picture_form import PictureReader
from nomadcrew.web.routes import Auth, Gate, Idempotency, Param, Routes

routes = Routes(
    "pictures",
    ports=("idempotency", "limits", "open_sessions", "outbox", "picture_files", "pictures", "profiles"),
)
PAGE = (Param("limit", "integer", "Page size, 1 to 100. Default: 50."), AFTER)
AVATARS = "/v1/avatars/"
_RESERVED_FIRST = "the row is reserved before its file is stored, and made visible after it"


def picture_id(call: Call, name: str) -> PictureId:
    """The id of a picture in the path under `name`.

    Raises:
        PictureNotFound: the id is malformed.
    """
    return PictureId(call.id(name, PictureNotFound()))


def actions(call: Call) -> PictureActions:
    ports = call.ports
    return PictureActions(call.user_id, ports.pictures, ports.picture_files, ports.new_id, call.now)


def view(call: Call, picture: Picture) -> PhotoView:
    return photo_view(picture, actions(call).links(picture), call.ports.site.public_url)


def uploaded(call: Call) -> BinaryIO:
    """The picture of an upload. Raises Invalid: there is none."""
    form = call.request.form
    if form is None or form.file is None:
        raise Invalid("Send the picture as the part `image` of a form, or as the body.", code="missing_file")
    return form.file


@routes.post(
    "/v1/trips/{id}/images", status=201, gate=Gate("photo", "create"), bucket="upload",
    idempotency=Idempotency.FINGERPRINT_ONLY, form=PictureReader, max_body_bytes=MAX_FORM_BYTES, statements=2,
    why=_RESERVED_FIRST,
)  # fmt: skip
async def upload_photo(call: Call) -> PhotoView:
    """Add a photo to a trip.

    The body is a JPEG, PNG or WebP picture of at most 10 MiB and 64 megapixels, or a form with it as the part
    `image`. Its metadata, such as place and time, is removed. On AWS the body is at most 4 MiB;
    `POST /v1/trips/{id}/images:presign` takes larger pictures. The same picture sent again within 30 seconds
    returns the first photo.
    """
    photo = await actions(call).add(call.trip_id, uploaded(call), fingerprint=call.fingerprint)
    return view(call, photo)


@routes.post(
    "/v1/trips/{id}/images:presign", status=201, gate=Gate("photo", "create"), bucket="upload", refusals=(400,),
    idempotency=Idempotency.FINGERPRINT_ONLY,
)  # fmt: skip
async def reserve_photo(call: Call, body: PhotoReservationIn) -> PhotoReservationView:
    """Reserve a photo of a trip, and upload its file to the file store.

    Send the file with the request in `upload`, then `POST /v1/trips/{id}/images:complete`, within 15 minutes.
    """
    reservation = await actions(call).reserve(
        call.trip_id, body.mime_type, body.file_size, fingerprint=call.fingerprint
    )
    return reservation_view(reservation)


@routes.post(
    "/v1/trips/{id}/images:complete", gate=Gate("photo", "create"), bucket="upload", refusals=(400, 409),
    idempotency=Idempotency.NEVER, statements=2, why="a photo that was completed before takes no other file",
)  # fmt: skip
async def complete_photo(call: Call, body: PhotoCompletionIn) -> PhotoView:
    """Complete a reserved photo, once its file is in the file store.

    Its metadata is removed. A repeat returns the photo.
    """
    return view(call, await actions(call).complete(call.trip_id, PictureId(body.id)))


@routes.get("/v1/trips/{id}/images", gate=Gate("photo", "read"), query=PAGE, refusals=(400,))
async def list_photos(call: Call) -> list[PhotoView] | Reply:
    """List the photos of a trip, newest first.

    The Link header leads to the next page.
    """
    limit = call.count("limit", default=50, lowest=1, highest=100)
    photos = await actions(call).page(call.trip_id, limit=limit, after=after_of(call))
    last = last_of(photos, limit, lambda photo: After(photo.created_at, photo.id))
    return paged(call, [view(call, photo) for photo in photos], last)


@routes.delete(
    "/v1/trips/{id}/images/{imageId}", status=204, gate=Gate("photo", "delete"), idempotency=Idempotency.NEVER
)
async def delete_photo(call: Call) -> None:
    """Delete a photo.

    Allowed for the member who added it and for admins.
    """
    await actions(call).delete(call.trip_id, picture_id(call, "imageId"))


@routes.post(
    "/v1/users/me/avatar", bucket="upload", idempotency=Idempotency.FINGERPRINT_ONLY, form=PictureReader,
    max_body_bytes=MAX_FORM_BYTES, statements=2, why=_RESERVED_FIRST,
)  # fmt: skip
async def set_avatar(call: Call) -> UserProfile:
    """Set the caller's avatar.

    The body is as that of `POST /v1/trips/{id}/images`; on AWS it is at most 4 MiB. The profile's avatarUrl leads
    to the middle square of the picture, for all who know it, until the avatar is replaced.
    """
    profile = await actions(call).set_avatar(
        uploaded(call),
        f"{call.ports.site.public_url}{AVATARS}",
        fingerprint=call.fingerprint,
        profiles=call.ports.profiles,
    )
    return own_profile(profile)


@routes.delete("/v1/users/me/avatar", status=204)
async def delete_avatar(call: Call) -> None:
    """Delete the caller's avatar."""
    await actions(call).delete_avatar(profiles=call.ports.profiles)


@routes.get("/v1/avatars/{avatarId}", auth=Auth.PUBLIC, status=302)
async def get_avatar(call: Call) -> Reply:
    """Get a user's avatar, by the address in avatarUrl.

    A redirect to the file store. The address is the only credential: it cannot be guessed.
    """
    link = await link_to_avatar(
        picture_id(call, "avatarId"), pictures=call.ports.pictures, files=call.ports.picture_files, now=call.now
    )
    return Reply(302, headers={"location": link, "cache-control": f"public, max-age={AVATAR_CACHE_S}"})
