"""Photos of trips and avatars, on the machine host."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, cast
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from msgspec.structs import replace

from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.files.model import MAX_FILE_BYTES, FileKind
from nomadcrew.core.files.ports import LINK_LIFETIME, Files
from nomadcrew.core.pictures.model import MAX_PHOTO_BYTES, MAX_PHOTOS, UPLOAD_LIFETIME
from nomadcrew.core.retention import RESERVED_PICTURE_RETENTION
from nomadcrew.hosts.aws.http_event import MAX_BODY_BYTES
from nomadcrew.web.call import Request
from nomadcrew.web.dispatch import Dispatcher
from tests.component.album import AVATAR, Album, album_of
from tests.component.requests import image_form
from tests.photos import LATITUDE, bomb, opened, photo, without_its_end
from tests.postgres import Postgres
from tests.sample_files import HEIC, PDF, PNG_OF_A_PHONE
from tests.world import World, request_headers, world

NOT_A_PICTURE = b"GIF89a" + bytes(100)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, Path]]:
    home = tmp_path_factory.mktemp("pictures")
    async with world(postgres, home, template=template, environment={"NOMADCREW_RATE_LIMITS": "off"}) as made:
        yield made, home


@pytest_asyncio.fixture(loop_scope="session")
async def album(stage: tuple[World, Path]) -> Album:
    return await album_of(*stage)


@pytest.mark.parametrize("as_form", [True, False])
async def test_a_photo_is_shown_at_once_without_its_metadata(album: Album, as_form: bool) -> None:
    reply = await album.send("ben", photo(), as_form=as_form)
    assert reply.status == 201, reply.body
    image = reply.json
    assert set(image) == {"id", "url", "uploadedAt", "status", "uploadedBy"}
    assert (image["status"], image["uploadedBy"]) == ("processing", str(album.people["ben"].id))
    assert [row["id"] for row in await album.listed("ana")] == [image["id"]]
    file = await album.file(image["url"])
    assert (file.status, file.headers["content-type"]) == (200, "image/jpeg")
    assert LATITUDE not in file.body
    assert opened(file.body).size == (600, 300)
    assert LATITUDE not in b"".join(path.read_bytes() for path in album.files.iterdir())


async def test_the_renditions_replace_the_original_in_the_list(album: Album) -> None:
    image = await album.added(content=photo(3_000, 1_500))
    await album.render()
    await album.render()  # a queue delivers a job twice
    [row] = await album.listed()
    # The orientation of the sample turns it.
    assert (row["status"], row["width"], row["height"]) == ("ready", 1024, 2048)
    for url, size in ((row["url"], (1024, 2048)), (row["thumbnailUrl"], (200, 400))):
        file = await album.file(url)
        assert (file.status, file.headers["content-type"]) == (200, "image/webp")
        shown = opened(file.body)
        assert (shown.format, shown.size, dict(shown.getexif())) == ("WEBP", size, {})
        assert LATITUDE not in file.body
    assert album.stored(image["id"]) == {"original", "large", "small"}
    [added], [updated] = await album.payloads("TRIP_IMAGE_ADDED"), await album.payloads("TRIP_IMAGE_UPDATED")
    assert added == {
        "id": image["id"], "tripId": str(album.trip), "status": "processing",
        "uploadedBy": str(album.people["ana"].id), "uploadedAt": updated["uploadedAt"],
    }  # fmt: skip
    assert (updated["status"], updated["width"], updated["height"]) == ("ready", 1024, 2048)


async def test_links_expire(album: Album) -> None:
    image = await album.added()
    album.wait(LINK_LIFETIME)
    assert (await album.file(image["url"])).status == 404


async def test_photos_are_listed_newest_first_in_pages(album: Album) -> None:
    added = []
    for colour in ("red", "green", "white"):
        added.append((await album.added(content=photo(colour=colour)))["id"])
        album.wait(timedelta(seconds=1))
    first = await album.call("GET", f"{album.path}?limit=2", "ben")
    assert [row["id"] for row in first.json] == [added[2], added[1]]
    link = first.headers["link"].partition(">")[0].removeprefix("<")
    second = await album.call("GET", link, "ben")
    assert [row["id"] for row in second.json] == [added[0]]
    assert "link" not in second.headers


async def test_the_same_photo_sent_again_is_stored_once(album: Album) -> None:
    first, second = await asyncio.gather(album.send("ana", photo()), album.send("ana", photo()))
    assert first.json["id"] == second.json["id"]
    assert len(await album.listed()) == 1
    assert len(await album.payloads("TRIP_IMAGE_ADDED")) == 1


async def test_a_deleted_photo_may_be_added_again_at_once(album: Album) -> None:
    first = await album.added()
    assert (await album.call("DELETE", f"{album.path}/{first['id']}", "ana")).status == 204
    assert (await album.added())["id"] != first["id"]


async def test_a_photo_is_deleted_by_its_author_and_by_admins_with_its_files(album: Album) -> None:
    mine, another = await album.added("ben"), await album.added("ben", photo(colour="green"))
    await album.render()
    refused = await album.call("DELETE", f"{album.path}/{mine['id']}", "dan")
    assert (refused.status, refused.code) == (403, "not_image_owner")
    for image, by in ((mine, "ben"), (another, "ana")):
        [url] = [row["url"] for row in await album.listed() if row["id"] == image["id"]]
        assert (await album.call("DELETE", f"{album.path}/{image['id']}", by)).status == 204
        assert (await album.file(url)).status == 404
        assert album.stored(image["id"]) == set()
        again = await album.call("DELETE", f"{album.path}/{image['id']}", by)
        assert (again.status, again.code) == (404, "image_not_found")
    assert await album.listed() == []
    assert [gone["id"] for gone in await album.payloads("TRIP_IMAGE_DELETED")] == [mine["id"], another["id"]]


async def test_a_photo_of_another_trip_is_not_found(album: Album) -> None:
    image = await album.added()
    elsewhere = await album.world.trip(album.people["ana"], name="elsewhere")
    assert (await album.call("DELETE", f"/v1/trips/{elsewhere}/images/{image['id']}", "ana")).status == 404
    assert (await album.call("DELETE", f"{album.path}/not-an-id", "ana")).code == "image_not_found"
    assert len(await album.listed()) == 1


async def test_photos_of_a_member_who_left_stay(album: Album) -> None:
    image = await album.added("ben")
    ben = album.people["ben"].id
    assert (await album.call("DELETE", f"/v1/trips/{album.trip}/members/{ben}", "ben")).status == 204
    assert (await album.call("GET", album.path, "ben")).status == 403
    assert [row["id"] for row in await album.listed("ana")] == [image["id"]]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (HEIC, 400, "invalid_mime_type"),
        (PDF, 400, "invalid_mime_type"),
        (NOT_A_PICTURE, 400, "invalid_mime_type"),
        (bomb(), 400, "too_many_pixels"),
        (photo(format_="PNG")[:-40], 400, "file_not_readable"),
        (photo() + bytes(MAX_FILE_BYTES), 400, "file_too_large"),
        (b"", 400, "missing_file"),
    ],
    ids=["heic", "pdf", "gif", "bomb", "truncated", "too large", "empty"],
)
@pytest.mark.parametrize("path", ["", AVATAR])
async def test_no_other_file_is_stored(album: Album, content: bytes, status: int, code: str, path: str) -> None:
    before = set(album.files.glob("*"))
    reply = await album.send("ana", content, path or None, as_form=False)
    assert (reply.status, reply.code) == (status, code), reply.body
    assert set(album.files.glob("*")) == before
    assert await album.listed() == []


async def test_the_refusal_of_heic_says_what_to_send(album: Album) -> None:
    reply = await album.send("ana", HEIC)
    assert "Send a JPEG" in reply.json["message"]
    assert "Send a JPEG" in (await album.reserve("ana", 100, "image/heic")).json["message"]


async def test_a_form_needs_the_part_image(album: Album) -> None:
    form, type_ = image_form(photo(), name="picture")
    headers = {"content-type": type_}
    reply = await album.world.call("POST", album.path, by=album.people["ana"], raw=form, headers=headers)
    assert (reply.status, reply.code) == (400, "missing_file")


async def test_a_photo_that_no_decoder_reads_is_marked_as_failed(album: Album) -> None:
    await album.added(content=without_its_end(photo(format_="PNG", orientation=None)))
    await album.render()
    [row] = await album.listed()
    assert (row["status"], "thumbnailUrl" in row) == ("failed", False)
    assert (await album.file(row["url"])).status == 200
    [updated] = await album.payloads("TRIP_IMAGE_UPDATED")
    assert updated["status"] == "failed"


async def test_a_client_uploads_a_photo_itself(album: Album) -> None:
    content = photo()
    reserved = (await album.reserve("ben", len(content))).json
    early = await album.call("POST", f"{album.path}:complete", "ben", {"id": reserved["id"]})
    assert (early.status, early.code) == (409, "upload_incomplete")
    assert await album.listed() == []
    sent = await album.world.call(reserved["upload"]["method"], reserved["upload"]["url"], raw=content)
    assert sent.status == 204
    other = await album.call("POST", f"{album.path}:complete", "ana", {"id": reserved["id"]})
    assert (other.status, other.code) == (404, "image_not_found")
    done = await album.call("POST", f"{album.path}:complete", "ben", {"id": reserved["id"]})
    assert done.status == 200, done.body
    assert album.stored(reserved["id"]) == {"original"}
    shown = (await album.file(done.json["url"])).body
    assert LATITUDE not in shown
    # The form is still valid, but a visible photo takes no other file.
    other_file = PNG_OF_A_PHONE.ljust(len(content), b"\0")
    sent = await album.world.call(reserved["upload"]["method"], reserved["upload"]["url"], raw=other_file)
    assert sent.status == 204
    again = await album.call("POST", f"{album.path}:complete", "ben", {"id": reserved["id"]})
    assert again.json == done.json
    assert (await album.file(again.json["url"])).body == shown
    assert album.stored(reserved["id"]) == {"original"}
    await album.render()
    assert [row["status"] for row in await album.listed()] == ["ready"]


async def test_an_uploaded_file_that_is_no_picture_expires(album: Album) -> None:
    reserved = (await album.reserve("ana", len(PDF))).json
    assert (await album.world.call("PUT", reserved["upload"]["url"], raw=PDF)).status == 204
    refused = await album.call("POST", f"{album.path}:complete", "ana", {"id": reserved["id"]})
    assert (refused.status, refused.code) == (400, "invalid_mime_type")
    album.wait(RESERVED_PICTURE_RETENTION + timedelta(seconds=1))
    await album.sweep()  # expires the reservation
    album.wait(RESERVED_PICTURE_RETENTION)
    assert await album.sweep() >= 1
    assert album.stored(reserved["id"]) == set()


async def test_the_form_of_an_upload_expires(album: Album) -> None:
    reserved = (await album.reserve("ana", 10)).json
    album.wait(UPLOAD_LIFETIME)
    assert (await album.world.call("PUT", reserved["upload"]["url"], raw=bytes(10))).status == 404


async def test_a_trip_has_a_quota_of_photos_and_bytes(album: Album) -> None:
    async with album.world.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO pictures (id, trip_id, media_type, size_bytes, status, created_at, stored_at)"
            " SELECT gen_random_uuid(), $1, 'image/jpeg', 1, 'ready', now(), now()"
            " FROM generate_series(1, $2)",
            album.trip, MAX_PHOTOS - 1,
        )  # fmt: skip
        both = await asyncio.gather(album.send("ana", photo()), album.send("ben", photo()))
        assert sorted(reply.status for reply in both) == [201, 400]
        await connection.execute("DELETE FROM pictures WHERE trip_id = $1", album.trip)
        await connection.execute(
            "INSERT INTO pictures (id, trip_id, media_type, size_bytes, status, created_at, stored_at)"
            " VALUES (gen_random_uuid(), $1, 'image/jpeg', $2, 'ready', now(), now())",
            album.trip, MAX_PHOTO_BYTES - 1,
        )  # fmt: skip
    reply = await album.send("dan", photo())
    assert (reply.status, reply.code) == (400, "image_quota_exceeded")


async def test_the_sweep_deletes_the_photos_of_a_deleted_trip(album: Album) -> None:
    image = await album.added()
    await album.render()
    await album.call("DELETE", f"/v1/trips/{album.trip}", "ana")
    await album.sweep()
    assert album.stored(image["id"]) == {"original", "large", "small"}
    album.wait(RESERVED_PICTURE_RETENTION)
    await album.sweep()
    assert album.stored(image["id"]) == set()
    async with album.world.pool.connection() as connection:
        assert await connection.fetch("SELECT FROM pictures WHERE id = $1", UUID(image["id"])) == []


async def test_a_photo_deleted_before_it_is_rendered_leaves_nothing(album: Album) -> None:
    image = await album.added()
    await album.call("DELETE", f"{album.path}/{image['id']}", "ana")
    await album.render()
    assert album.stored(image["id"]) == set()
    assert await album.payloads("TRIP_IMAGE_UPDATED") == []


class FailingFiles:
    """A file store in an outage, after the row was reserved."""

    async def store(self, key: str, file: BinaryIO, kind: FileKind) -> None:
        raise Unavailable


@pytest.mark.parametrize("row", ["POST /v1/trips/{id}/images", f"POST {AVATAR}"])
async def test_an_upload_that_fails_at_its_file_shows_nothing_and_may_be_repeated(album: Album, row: str) -> None:
    form, type_ = image_form(photo())
    path, params = (album.path, {"id": str(album.trip)}) if "{id}" in row else (AVATAR, {})
    ports = replace(album.world.ports, picture_files=cast("Files", FailingFiles()))
    route = next(route for route in ALL_ROUTES if route.key == row)
    headers = request_headers(album.people["ana"], form, {"content-type": type_})
    request = Request(params, {}, headers, form, "203.0.113.7", "req-1")
    assert (await Dispatcher(ports).handle(route, request)).status == 503
    assert await album.listed() == []
    assert "avatarUrl" not in (await album.call("GET", "/v1/users/me", "ana")).json
    assert (await album.send("ana", photo(), path)).status < 300
    async with album.world.pool.connection() as connection:
        ana = album.people["ana"].id
        assert await connection.fetchval("SELECT count(*) FROM pictures WHERE user_id = $1", ana) == 1


async def test_an_avatar_is_public_square_and_without_metadata(album: Album) -> None:
    reply = await album.send("ben", photo(3_000, 1_500), AVATAR)
    assert reply.status == 200, reply.body
    url = reply.json["avatarUrl"]
    assert (reply.json["profilePicture"], reply.json["profilePictureUrl"]) == (url, url)
    assert url.startswith("http://api.test/v1/avatars/")
    first = await album.file(url)
    assert (first.status, first.headers["content-type"]) == (200, "image/jpeg")
    assert LATITUDE not in first.body
    await album.render()
    file = await album.file(url)
    shown = opened(file.body)
    assert (shown.format, shown.size) == ("WEBP", (512, 512))
    redirect = await album.world.call("GET", url.removeprefix("http://api.test"))
    assert (redirect.status, redirect.headers["cache-control"]) == (302, "public, max-age=300")
    members = (await album.call("GET", f"/v1/trips/{album.trip}/members", "ana")).json
    assert url in [row["user"].get("avatarUrl") for row in members]


async def test_the_same_avatar_sent_again_is_stored_once(album: Album) -> None:
    first, second = [await album.send("ben", photo(), AVATAR) for _ in range(2)]
    assert first.json["avatarUrl"] == second.json["avatarUrl"]
    ben = str(album.people["ben"].id)
    assert [row["userId"] for row in await album.payloads("avatar.uploaded")].count(ben) == 1


@pytest.mark.parametrize("by", ["another avatar", "deletion", "another address"])
async def test_a_replaced_avatar_is_gone(album: Album, by: str) -> None:
    url = (await album.send("ben", photo(), AVATAR)).json["avatarUrl"]
    if by == "another avatar":
        assert (await album.send("ben", photo(colour="green"), AVATAR)).status == 200
    elif by == "deletion":
        assert (await album.call("DELETE", AVATAR, "ben")).status == 204
    else:
        body = {"avatarUrl": "https://example.org/ben.png"}
        assert (await album.call("PUT", f"/v1/users/{album.people['ben'].id}", "ben", body)).status == 200
    assert (await album.file(url)).status == 404
    again = (await album.send("ben", photo(), AVATAR)).json["avatarUrl"]
    assert again != url
    album.wait(RESERVED_PICTURE_RETENTION)
    await album.sweep()
    assert album.stored(url.rpartition("/")[2]) == set()
    assert (await album.file(again)).status == 200


async def test_concurrent_avatars_leave_one(album: Album) -> None:
    colours = ("red", "green", "white", "black")
    replies = await asyncio.gather(*(album.send("ben", photo(colour=colour), AVATAR) for colour in colours))
    assert [reply.status for reply in replies] == [200] * 4
    shown = (await album.call("GET", "/v1/users/me", "ben")).json["avatarUrl"]
    answers = {url: (await album.file(url)).status for url in {reply.json["avatarUrl"] for reply in replies}}
    assert {url for url, status in answers.items() if status == 200} == {shown}


async def test_a_photo_is_not_served_as_an_avatar(album: Album) -> None:
    image = await album.added()
    for id_ in (image["id"], str(uuid4()), "not-an-id"):
        assert (await album.world.call("GET", f"/v1/avatars/{id_}")).status == 404


async def test_on_aws_a_large_photo_is_refused_with_the_way_to_send_it(album: Album) -> None:
    large = photo() + bytes(MAX_BODY_BYTES)
    headers = {"content-type": "image/jpeg"}
    reply = await album.world.invoke("POST", album.path, by=album.people["ana"], raw=large, headers=headers)
    assert reply.status == 413
    assert ":presign" in reply.json["message"]
    reply = await album.world.invoke("POST", AVATAR, by=album.people["ana"], raw=large, headers=headers)
    assert reply.status == 413
    assert ":presign" not in reply.json["message"]
