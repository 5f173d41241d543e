"""Export and import of trips through the public API, on both hosts."""

from typing import Any
from urllib.parse import urljoin

import httpx

from tests.archives import PERSON, TRIP, a_message, comparable, content, zipped
from tests.e2e.client import User, eventually
from tests.e2e.conftest import Register
from tests.e2e.test_documents import upload
from tests.sample_files import JPEG_OF_A_PHONE, PDF

ZIP = {"content-type": "application/zip"}


async def a_trip(ana: User, ben: User) -> str:
    """A trip with messages, a to-do, a poll and a document."""
    trip = await ana.new_trip()
    await ana.add_member(trip, ben)
    path = f"/v1/trips/{trip}"
    await ben.ask("POST", f"{path}/todos", {"text": "=book the train", "dueAt": "2027-05-01T10:00:00Z"})
    poll = await ana.ask("POST", f"{path}/polls", {"question": "How?", "options": ["bus", "train"]})
    await ben.ask("POST", f"{path}/polls/{poll['id']}/vote", {"optionId": poll["options"][1]["id"]})
    said = await ana.ask("POST", f"{path}/chat/messages", {"message": "hello"})
    await ben.ask("POST", f"{path}/chat/messages/{said['id']}/reactions", {"emoji": "👍"})
    picture = await ben.api.send(
        "POST", f"{path}/chat/attachments", content=JPEG_OF_A_PHONE,
        headers={"authorization": f"Bearer {ben.token}", "content-type": "image/jpeg"},
    )  # fmt: skip
    body = {"message": "", "attachmentId": picture.json()["id"], "replyToId": said["id"]}
    await ben.ask("POST", f"{path}/chat/messages", body)
    assert (await upload(ana, f"{path}/wallet/documents")).status_code == 201
    return trip


async def import_(by: User, archive: bytes) -> httpx.Response:
    return await by.api.send(
        "POST", "/v1/trips:import", content=archive, headers=ZIP | {"authorization": f"Bearer {by.token}"}
    )


async def test_a_trip_is_exported_and_imported_as_a_new_one(register: Register) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip = await a_trip(ana, ben)
    exported = await ana.send("GET", f"/v1/trips/{trip}/export")
    assert (exported.status_code, exported.headers["content-type"]) == (200, "application/zip"), exported.text
    reply = await import_(ana, exported.content)
    assert reply.status_code == 201, reply.text
    copy = reply.json()["trip"]["id"]
    assert (await import_(ana, exported.content)).json()["trip"]["id"] == copy
    again = await ana.send("GET", f"/v1/trips/{copy}/export")
    assert comparable(content(again.content)) == comparable(content(exported.content))
    listed = await ana.ask("GET", f"/v1/trips/{copy}/chat/messages")
    assert [message["sender"]["name"] for message in listed["messages"]] == ["Ben", "Ana"]
    said = await ana.ask("POST", f"/v1/trips/{copy}/chat/messages", {"message": "the next one"})
    assert "the next one" in said.values()


async def test_a_large_trip_is_exported_by_a_job(register: Register) -> None:
    ana = await register("ana")
    trip = await ana.new_trip()
    for part in (b"a", b"b", b"c"):
        reply = await upload(ana, f"/v1/trips/{trip}/wallet/documents", PDF + part * (2 * 2**20))
        assert reply.status_code == 201, reply.text
    path = f"/v1/trips/{trip}/export"
    first = await ana.send("GET", path)
    assert (first.status_code, first.json()["status"]) == (202, "preparing"), first.text

    async def link() -> str | None:
        reply = await ana.send("GET", path)
        return str(reply.headers["location"]) if reply.status_code == 307 else None

    location = await eventually(link)
    assert location is not None
    async with httpx.AsyncClient(trust_env=False) as client:
        archive = await client.get(urljoin(ana.api.url, location))
    assert len(content(archive.content)["documents"]) == 3

    async def is_told() -> bool:
        listed = await ana.ask("GET", "/v1/notifications")
        items = listed["notifications"] if isinstance(listed, dict) else listed
        return any(item["metadata"].get("change") == "exported" for item in items)

    assert await eventually(is_told)


async def test_a_client_uploads_a_large_archive_itself(register: Register) -> None:
    ana = await register("ana")
    picture = bytes(range(256)) * (20 * 1024)  # 5 MiB, more than a request carries on AWS
    archive = zipped({**TRIP, "people": [PERSON], "messages": [a_message(1)]}, **{"photos/a.bin": picture})
    reserved = await ana.ask("POST", "/v1/trips:import:presign", {"fileSize": len(archive)}, status=201)
    request = reserved["upload"]
    how: dict[str, Any] = {"content": archive}
    if request["fields"]:
        how = {"data": request["fields"], "files": {"file": ("trip.zip", archive)}}
    async with httpx.AsyncClient(trust_env=False) as client:
        sent = await client.request(request["method"], urljoin(ana.api.url, request["url"]), **how)
    assert sent.is_success, sent.text
    imported = await ana.ask("POST", "/v1/trips:import:complete", {"id": reserved["id"]}, status=201)
    listed = await ana.ask("GET", f"/v1/trips/{imported['trip']['id']}/chat/messages")
    assert [message["sender"]["name"] for message in listed["messages"]] == ["Ana"]


async def test_a_file_that_is_no_archive_is_refused(register: Register) -> None:
    ana = await register("ana")
    reply = await import_(ana, b"not a zip")
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_archive")
