"""Documents through the public API, on both hosts: uploads, downloads, and the crew that is told."""

import json
from typing import Any
from urllib.parse import urljoin

import httpx

from tests.e2e.client import User
from tests.e2e.conftest import Connect, Register
from tests.sample_files import JPEG_OF_A_PHONE, PDF

OWN = "/v1/wallet/documents"
TEXTS = {"documentType": "passport", "name": "My passport", "metadata": {"expiryDate": "2031-05-01"}}


async def upload(by: User, path: str, content: bytes = PDF) -> httpx.Response:
    """Upload a document as the shipped app does."""
    return await by.api.send(
        "POST", path, headers={"authorization": f"Bearer {by.token}"},
        files={"file": ("scan", content, "application/octet-stream"), "metadata": (None, json.dumps(TEXTS))},
    )  # fmt: skip


async def downloaded(by: User, document: dict[str, Any], **headers: str) -> httpx.Response:
    """The file of a document, as a client follows its token: the store refuses a second credential."""
    link = await by.api.send("GET", f"/v1/wallet/files/{document['downloadUrl']}")
    assert link.status_code == 307, link.text
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(urljoin(by.api.url, link.headers["location"]), headers=headers)


async def test_a_document_is_uploaded_listed_downloaded_and_deleted(register: Register) -> None:
    ana = await register("ana")
    reply = await upload(ana, OWN, JPEG_OF_A_PHONE)
    assert reply.status_code == 201, reply.text
    document = reply.json()
    assert (document["mimeType"], document["fileSize"]) == ("image/jpeg", len(JPEG_OF_A_PHONE))
    assert document["metadata"] == TEXTS["metadata"]
    assert [item["id"] for item in (await ana.ask("GET", OWN))["data"]] == [document["id"]]
    file = await downloaded(ana, document)
    assert (file.status_code, file.headers["content-type"], file.content) == (200, "image/jpeg", JPEG_OF_A_PHONE)
    assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''My%20passport.jpg"
    part = await downloaded(ana, document, range="bytes=0-9")
    assert (part.status_code, part.content) == (206, JPEG_OF_A_PHONE[:10])
    await ana.ask("DELETE", f"{OWN}/{document['id']}")
    assert (await ana.api.send("GET", f"/v1/wallet/files/{document['downloadUrl']}")).status_code == 404
    assert (await ana.ask("GET", OWN))["data"] == []


async def test_a_client_uploads_a_large_file_itself(register: Register) -> None:
    ana, content = await register("ana"), PDF + bytes(5 * 2**20)
    announced = TEXTS | {"mimeType": "application/pdf", "fileSize": len(content)}
    reserved = await ana.ask("POST", f"{OWN}:presign", announced, status=201)
    request = reserved["upload"]
    how: dict[str, Any] = {"content": content}
    if request["fields"]:
        how = {"data": request["fields"], "files": {"file": ("scan", content)}}
    async with httpx.AsyncClient(trust_env=False) as client:
        sent = await client.request(request["method"], urljoin(ana.api.url, request["url"]), **how)
    assert sent.is_success, sent.text
    document = await ana.ask("POST", f"{OWN}:complete", {"id": reserved["id"]})
    assert (await downloaded(ana, document)).content == content


async def test_the_crew_is_told_of_group_documents(register: Register, connect: Connect) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    socket = await connect(ben)
    document = (await upload(ana, f"/v1/trips/{trip_id}/wallet/documents")).json()
    added = await socket.event("DOCUMENT_ADDED", trip_id, id=document["id"])
    assert (added["payload"]["name"], added["userId"]) == ("My passport", ana.id)
    shown = await ben.ask("GET", f"{OWN}/{document['id']}")
    assert (await downloaded(ben, shown)).content == PDF
    assert (await ben.send("DELETE", f"{OWN}/{document['id']}")).status_code == 403
    audit = await ana.ask("GET", f"{OWN}/{document['id']}/audit")
    assert {(entry["action"], entry["userId"]) for entry in audit["data"]} == {
        ("upload", ana.id), ("view", ben.id), ("download", ben.id),
    }  # fmt: skip
    await ana.ask("DELETE", f"{OWN}/{document['id']}")
    await socket.event("DOCUMENT_REMOVED", trip_id, id=document["id"])
