"""Photos and avatars through the public API, on both hosts: uploads, renditions, and the crew that is told."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from nomadcrew.core.files.model import MAX_FILE_BYTES
from tests.e2e.client import Api, User, eventually
from tests.e2e.conftest import Connect, Register
from tests.e2e.server import Server
from tests.photos import LATITUDE, bomb, opened, photo


async def send(by: User, path: str, content: bytes) -> httpx.Response:
    return await by.api.send(
        "POST", path, headers={"authorization": f"Bearer {by.token}"},
        files={"image": ("IMG_1.jpg", content, "image/jpeg")},
    )  # fmt: skip


async def downloaded(url: str) -> httpx.Response:
    """The file of a link, as a page shows it: without a token."""
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as client:
        return await client.get(url)


def how_to_send(upload: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    """The body of an upload to the file store."""
    if not upload["fields"]:
        return {"content": content}
    return {"data": upload["fields"], "files": {"file": ("IMG_1.jpg", content)}}


@pytest.mark.contract("rest-core.images")
async def test_a_photo_is_added_rendered_listed_and_deleted(register: Register, connect: Connect) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    socket, path = await connect(ben), f"/v1/trips/{trip_id}/images"
    reply = await send(ana, path, photo(3_000, 1_500))
    assert reply.status_code == 201, reply.text
    image = reply.json()
    first = await downloaded(image["url"])
    assert (first.status_code, first.headers["content-type"]) == (200, "image/jpeg")
    assert LATITUDE not in first.content
    await socket.event("TRIP_IMAGE_ADDED", trip_id, id=image["id"])
    updated = await socket.event("TRIP_IMAGE_UPDATED", trip_id, id=image["id"])
    assert updated["payload"]["status"] == "ready"
    [row] = await ben.ask("GET", path)
    assert (row["id"], row["status"], row["uploadedBy"]) == (image["id"], "ready", ana.id)
    for url, size in ((row["url"], (1024, 2048)), (row["thumbnailUrl"], (200, 400))):
        shown = await downloaded(url)
        assert shown.headers["content-type"] == "image/webp"
        assert opened(shown.content).size == size
        assert LATITUDE not in shown.content
    assert (await ben.send("DELETE", f"{path}/{image['id']}")).status_code == 403
    await ana.ask("DELETE", f"{path}/{image['id']}", status=204)
    await socket.event("TRIP_IMAGE_DELETED", trip_id, id=image["id"])
    assert await ben.ask("GET", path) == []
    assert (await downloaded(row["url"])).status_code in (403, 404)


async def test_a_client_uploads_a_photo_itself(register: Register) -> None:
    ana, content = await register("ana"), photo(colour="green")
    trip_id = await ana.new_trip()
    path = f"/v1/trips/{trip_id}/images"
    announced = {"mimeType": "image/jpeg", "fileSize": len(content)}
    reserved = await ana.ask("POST", f"{path}:presign", announced, status=201)
    upload = reserved["upload"]
    async with httpx.AsyncClient(trust_env=False) as client:
        sent = await client.request(
            upload["method"], urljoin(ana.api.url, upload["url"]), **how_to_send(upload, content)
        )
    assert sent.is_success, sent.text
    image = await ana.ask("POST", f"{path}:complete", {"id": reserved["id"]})
    shown = await downloaded(image["url"])
    assert shown.status_code == 200
    assert LATITUDE not in shown.content


async def test_an_avatar_is_shown_without_a_token(register: Register) -> None:
    ana = await register("ana")
    reply = await send(ana, "/v1/users/me/avatar", photo())
    assert reply.status_code == 200, reply.text
    url = reply.json()["avatarUrl"]
    shown = await downloaded(url)
    assert (shown.status_code, shown.headers["content-type"].partition("/")[0]) == (200, "image")
    assert LATITUDE not in shown.content
    assert (await ana.ask("GET", "/v1/users/me"))["profilePicture"] == url
    await ana.ask("DELETE", "/v1/users/me/avatar", status=204)
    assert (await downloaded(url)).status_code == 404
    assert not (await ana.ask("GET", "/v1/users/me")).get("avatarUrl")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read as Linux tells it")
@pytest.mark.one_machine("reads the memory of the server")
async def test_many_of_the_largest_photos_at_once_take_bounded_memory() -> None:
    def rss_mib() -> float:
        status = Path(f"/proc/{server.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    async with Server(NOMADCREW_RATE_LIMITS="off") as server:
        api = Api(server.url)
        crew = [await api.register(name) for name in ("ana", "ben", "cleo", "dan", "eve")]
        trips = [await user.new_trip() for user in crew]
        await send(crew[0], f"/v1/trips/{trips[0]}/images", photo(colour="green"))  # warm
        rest_mib = rss_mib()
        # Comments are metadata: a picture of ten megabytes that decodes at once.
        large = photo()[:2] + (b"\xff\xfe\xff\xff" + bytes(65_533)) * 150 + photo()[2:]
        assert MAX_FILE_BYTES * 0.9 < len(large) < MAX_FILE_BYTES
        uploads = [
            asyncio.create_task(send(user, f"/v1/trips/{trip}/images", large + bytes(n)))
            for user, trip in zip(crew, trips, strict=True)
            for n in range(2)  # more of one user wait for room
        ]
        refused = await send(crew[0], f"/v1/trips/{trips[0]}/images", bomb())
        highest_mib = rest_mib
        while not all(upload.done() for upload in uploads):
            await asyncio.sleep(0.05)
            highest_mib = max(highest_mib, rss_mib())
        statuses = [upload.result().status_code for upload in uploads]
        assert (set(statuses), refused.json()["code"]) == ({201}, "too_many_pixels")
        assert highest_mib - rest_mib <= 96

        async def are_ready() -> bool:
            rows = [
                await user.ask("GET", f"/v1/trips/{trip}/images") for user, trip in zip(crew, trips, strict=True)
            ]
            return all(row["status"] == "ready" for page in rows for row in page)

        await eventually(are_ready, within_s=60)
        await api.close()
        assert await server.stop() == 0
        assert server.errors == []
