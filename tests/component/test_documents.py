"""Documents in wallets: uploads, lists, downloads and changes, on the machine host."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from nomadcrew.core.documents.model import MAX_OWN_BYTES, TOKEN_LIFETIME, UPLOAD_LIFETIME
from nomadcrew.core.files.model import MAX_FILE_BYTES
from nomadcrew.hosts.aws.http_event import MAX_BODY_BYTES
from tests.component.document_crew import OWN, Crew, crew_of
from tests.component.requests import BOUNDARY, FORM_DATA, document_form
from tests.postgres import Postgres
from tests.sample_files import HEIC, HEIF, JPEG_OF_A_PHONE, PDF, PNG_OF_A_PHONE, WEBP_OF_A_PHONE
from tests.world import World, world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, Path]]:
    home = tmp_path_factory.mktemp("documents")
    async with world(postgres, home, template=template, environment={"NOMADCREW_RATE_LIMITS": "off"}) as made:
        yield made, home


@pytest_asyncio.fixture(loop_scope="session")
async def crew(stage: tuple[World, Path]) -> Crew:
    return await crew_of(*stage)


@pytest.mark.contract(
    "rest-activity.pages.envelope",
    "rest-activity.wallet.upload",
    "rest-activity.wallet.list",
    "rest-activity.wallet.get",
    "rest-activity.wallet.file",
)
async def test_a_user_uploads_lists_reads_and_downloads_a_document(crew: Crew) -> None:
    document = await crew.uploaded("ana", name="My passport", metadata={"expiryDate": "2030-01-31", "x": 1})
    token = document.pop("downloadUrl")
    assert document.pop("createdAt") == document.pop("updatedAt")
    assert document == {
        "id": document["id"],
        "userId": str(crew.people["ana"].id),
        "walletType": "personal",
        "documentType": "passport",
        "name": "My passport",
        "fileSize": len(PDF),
        "mimeType": "application/pdf",
        "metadata": {"expiryDate": "2030-01-31"},
    }
    listed = (await crew.call("GET", f"{OWN}?limit=50&offset=0", "ana")).json
    assert [item["id"] for item in listed["data"]] == [document["id"]]
    assert listed["pagination"] == {"limit": 50, "offset": 0, "total": 1}
    assert "downloadUrl" not in listed["data"][0]
    assert (await crew.get("ana", document["id"])).json["downloadUrl"] == token
    file = await crew.file(token)
    assert (file.status, file.body) == (200, PDF)
    assert file.headers["content-type"] == "application/pdf"
    assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''My%20passport.pdf"
    assert file.headers["x-content-type-options"] == "nosniff"


@pytest.mark.contract("rest-activity.wallet.token")
async def test_a_token_fits_one_path_segment_and_hides_its_document(crew: Crew) -> None:
    document = await crew.uploaded("ana")
    token = document["downloadUrl"]
    assert token.replace("-", "").replace("_", "").isalnum()
    assert len(token) < 128
    assert document["id"].replace("-", "") not in token
    assert document["userId"].replace("-", "") not in token


@pytest.mark.contract("rest-activity.wallet.file", "jobs.files.local")
@pytest.mark.parametrize(
    ("asked", "status", "sent", "range_"),
    [
        ("bytes=0-3", 206, PDF[:4], f"bytes 0-3/{len(PDF)}"),
        ("bytes=5-", 206, PDF[5:], f"bytes 5-{len(PDF) - 1}/{len(PDF)}"),
        ("bytes=-4", 206, PDF[-4:], f"bytes {len(PDF) - 4}-{len(PDF) - 1}/{len(PDF)}"),
        ("bytes=0-99999", 206, PDF, f"bytes 0-{len(PDF) - 1}/{len(PDF)}"),
        ("bytes=99999-", 416, b"", f"bytes */{len(PDF)}"),
        ("bytes=3-1", 200, PDF, None),
        ("bytes=0-1,3-4", 200, PDF, None),
        ("lines=1-2", 200, PDF, None),
    ],
)
async def test_a_range_of_a_file_is_sent(
    crew: Crew, asked: str, status: int, sent: bytes, range_: str | None
) -> None:
    token = (await crew.uploaded("ana"))["downloadUrl"]
    reply = await crew.file(token, range=asked)
    assert (reply.status, reply.body, reply.headers.get("content-range")) == (status, sent, range_)


@pytest.mark.contract("rest-activity.wallet.upload.types")
@pytest.mark.parametrize(
    ("file", "type_"),
    [
        (PDF, "application/pdf"),
        (JPEG_OF_A_PHONE, "image/jpeg"),
        (PNG_OF_A_PHONE, "image/png"),
        (HEIC, "image/heic"),
        (HEIF, "image/heic"),
    ],
)
async def test_the_bytes_of_a_document_decide_its_type_and_stay_as_they_are(
    crew: Crew, file: bytes, type_: str
) -> None:
    document = await crew.uploaded("ana", file=file)
    assert document["mimeType"] == type_
    assert (await crew.file(document["downloadUrl"])).body == file


@pytest.mark.contract("rest-activity.wallet.upload.refused")
@pytest.mark.parametrize("file", [b"", b"<html>", WEBP_OF_A_PHONE, b"GIF89a" + PDF, b"PK\3\4" + PDF])
async def test_another_type_is_refused_and_nothing_is_stored(crew: Crew, file: bytes) -> None:
    before, files = await crew.world.snapshot(), sorted(crew.files.glob("*"))
    reply = await crew.upload("ana", file=file)
    assert (reply.status, reply.code) == (400, "invalid_mime_type")
    assert await crew.world.snapshot() == before
    assert sorted(crew.files.glob("*")) == files


def part(name: str, content: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"; filename="x"\r\n\r\n'
    return head.encode() + content + b"\r\n"


LAST = f"--{BOUNDARY}--\r\n".encode()
TEXTS = b'{"documentType":"other","name":"x"}'


@pytest.mark.contract("rest-activity.wallet.upload.refused", "rest-activity.wallet.upload.fix-fields")
@pytest.mark.parametrize(
    ("form", "code"),
    [
        (b"", "invalid_form"),
        (b"no form at all", "invalid_form"),
        (document_form()[:-20], "invalid_form"),
        (part("metadata", TEXTS) + LAST, "missing_file"),
        (part("file", PDF) + LAST, "missing_metadata"),
        (part("file", PDF) + part("metadata", b"{") + LAST, "invalid_metadata"),
        (part("file", PDF) + part("metadata", b"[]") + LAST, "invalid_metadata"),
        (part("file", PDF) + part("metadata", b'{"documentType":"other"}') + LAST, "invalid_metadata"),
        (part("file", PDF) + part("metadata", b'{"documentType":"x","name":"x"}') + LAST, "invalid_metadata"),
        (document_form(name="x" * 256), "invalid_metadata"),
        (document_form(name="\u200b"), "invalid_request_payload"),
        (document_form(metadata={"country": ["a", "list"]}), "invalid_metadata"),
        (document_form(metadata={"country": "x" * 65_536}), "metadata_too_large"),
        (part("metadata", bytes(300_000)) + LAST, "invalid_form"),
        (document_form(PDF + bytes(MAX_FILE_BYTES)), "file_too_large"),
        (b"".join(part(f"field {n}", b"x") for n in range(20)) + LAST, "invalid_form"),
    ],
)
async def test_a_bad_form_is_refused(crew: Crew, form: bytes, code: str) -> None:
    before = await crew.world.snapshot()
    reply = await crew.send("ana", form)
    assert (reply.status, reply.code) == (400, code)
    assert await crew.world.snapshot() == before


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/form-data; boundary="]
)
async def test_another_content_type_is_refused(crew: Crew, content_type: str) -> None:
    reply = await crew.send("ana", document_form(), content_type=content_type)
    assert (reply.status, reply.code) == (400, "invalid_form")


async def test_a_form_larger_than_a_file_is_refused(crew: Crew) -> None:
    reply = await crew.send("ana", document_form(bytes(MAX_FILE_BYTES + 2**20)))
    assert (reply.status, reply.code) == (413, "body_too_large")


@pytest.mark.contract("rest-activity.wallet.large")
async def test_a_large_form_behind_the_gateway_is_refused_with_the_route_for_it(crew: Crew) -> None:
    form, headers = document_form(PDF + bytes(MAX_BODY_BYTES)), dict((FORM_DATA,))
    for path, shown in ((OWN, OWN), (crew.group, "/v1/trips/{id}/wallet/documents")):
        refused = await crew.world.invoke("POST", path, by=crew.people["ana"], raw=form, headers=headers)
        assert (refused.status, refused.code) == (413, "body_too_large")
        assert refused.json["message"] == f"The request body exceeds 4 MiB. Use POST {shown}:presign instead."
    small = await crew.world.invoke("POST", OWN, by=crew.people["ana"], raw=document_form(), headers=headers)
    assert small.status == 201


@pytest.mark.contract("rest-activity.wallet.metadata.compat")
async def test_metadata_in_both_spellings_is_returned_as_sent(crew: Crew) -> None:
    metadata = {"booking_reference": "AB12", "flightNumber": "TP 1", "unknown": "dropped", "airline": None}
    document = await crew.uploaded("ana", documentType="flight_booking", metadata=metadata)
    assert document["metadata"] == {"booking_reference": "AB12", "flightNumber": "TP 1", "airline": None}


@pytest.mark.contract("rest-activity.wallet.upload.group")
async def test_the_path_decides_the_wallet(crew: Crew) -> None:
    own = await crew.uploaded("ana", walletType="group", tripId=str(crew.trip))
    group = await crew.uploaded("ana", crew.group, walletType="personal", tripId=7)
    assert (own["walletType"], own.get("tripId")) == ("personal", None)
    assert (group["walletType"], group["tripId"]) == ("group", str(crew.trip))
    listed = (await crew.call("GET", crew.group, "ben")).json["data"]
    assert [document["id"] for document in listed] == [group["id"]]


@pytest.mark.contract("rest-activity.pages", "rest-activity.wallet.list")
async def test_lists_have_pages_newest_first(crew: Crew) -> None:
    ids: list[str] = []
    for name in ("a", "b", "c"):
        crew.world.clock.advance(1)
        ids.insert(0, (await crew.uploaded("ana", crew.group, name=name))["id"])
    first = await crew.call("GET", f"{crew.group}?limit=2", "ben")
    assert [document["id"] for document in first.json["data"]] == ids[:2]
    link = first.headers["link"].split(">")[0].removeprefix("<")
    assert [document["id"] for document in (await crew.call("GET", link, "ben")).json["data"]] == ids[2:]
    by_offset = (await crew.call("GET", f"{crew.group}?limit=2&offset=1", "ben")).json
    assert [document["id"] for document in by_offset["data"]] == ids[1:]
    assert by_offset["pagination"] == {"limit": 2, "offset": 1, "total": 3}
    capped = (await crew.call("GET", f"{crew.group}?limit=1000", "ben")).json
    assert capped["pagination"]["limit"] == 100


@pytest.mark.contract("rest-activity.wallet.get")
async def test_a_malformed_id_is_refused_and_an_unknown_one_is_not_found(crew: Crew) -> None:
    for method in ("GET", "PUT", "DELETE"):
        body = {"name": "x"} if method == "PUT" else None
        malformed = await crew.call(method, f"{OWN}/no-id", "ana", body)
        assert (malformed.status, malformed.code) == (400, "validation_failed")
        unknown = await crew.call(method, f"{OWN}/{uuid4()}", "ana", body)
        assert (unknown.status, unknown.code) == (404, "document_not_found")


@pytest.mark.contract("rest-activity.wallet.change")
async def test_the_uploader_changes_a_document(crew: Crew) -> None:
    document = await crew.uploaded("ana", description="old", metadata={"passportNumber": "X1", "country": "PT"})
    path = f"{OWN}/{document['id']}"
    crew.world.clock.advance(1)
    changed = (await crew.call("PUT", path, "ana", {"name": "New name"})).json
    assert (changed["name"], changed["description"], changed["metadata"]) == (
        "New name", "old", {"passportNumber": "X1", "country": "PT"},
    )  # fmt: skip
    assert changed["updatedAt"] > changed["createdAt"]
    assert "downloadUrl" not in changed
    # The metadata of another type is that which it has too.
    visa = (await crew.call("PUT", path, "ana", {"documentType": "visa", "description": ""})).json
    assert (visa["documentType"], visa["metadata"]) == ("visa", {"country": "PT"})
    assert "description" not in visa
    replaced = (await crew.call("PUT", path, "ana", {"metadata": {"visa_number": "V2"}})).json
    assert replaced["metadata"] == {"visa_number": "V2"}
    assert (await crew.call("PUT", path, "ana", {"name": ""})).code == "invalid_request_payload"
    assert (await crew.call("PUT", path, "ana", {"documentType": "x"})).status == 400
    before = await crew.world.snapshot()
    assert (await crew.call("PUT", path, "ana", {"documentType": "visa"})).json == replaced
    assert await crew.world.snapshot() == before


@pytest.mark.contract("rest-activity.wallet.delete", "rest-activity.wallet.token.refused")
async def test_a_deleted_document_and_its_file_are_gone_at_once(crew: Crew) -> None:
    document = await crew.uploaded("ana", crew.group)
    link = (await crew.world.call("GET", f"/v1/wallet/files/{document['downloadUrl']}")).headers["location"]
    reply = await crew.call("DELETE", f"{OWN}/{document['id']}", "ana")
    assert (reply.status, reply.json) == (200, {"message": "Document deleted successfully"})
    assert crew.stored(document["id"]) == []
    assert (await crew.world.call("GET", link)).status == 404
    assert (await crew.file(document["downloadUrl"])).code == "document_not_found"
    assert (await crew.get("ben", document["id"])).code == "document_not_found"
    assert (await crew.call("GET", crew.group, "ben")).json["pagination"]["total"] == 0
    again = await crew.uploaded("ana", crew.group)
    assert again["id"] != document["id"]


async def test_group_documents_tell_the_crew(crew: Crew) -> None:
    document = await crew.uploaded("ana", crew.group, description="secret", metadata={"passportNumber": "X1"})
    await crew.call("DELETE", f"{OWN}/{document['id']}", "ana")
    await crew.uploaded("ana", description="own")
    added, removed = await crew.events()
    assert (added["type"], added["audience"], removed["type"]) == ("DOCUMENT_ADDED", "trip", "DOCUMENT_REMOVED")
    assert added["payload"] == {
        "id": document["id"],
        "tripId": str(crew.trip),
        "userId": document["userId"],
        "documentType": "passport",
        "name": "Passport",
        "mimeType": "application/pdf",
        "fileSize": len(PDF),
        "createdAt": added["payload"]["createdAt"],
    }
    assert removed["payload"] == {"id": document["id"], "tripId": str(crew.trip)}


@pytest.mark.contract("rest-activity.wallet.quota")
async def test_the_quota_holds_under_parallel_uploads(crew: Crew) -> None:
    size = MAX_OWN_BYTES // 10
    replies = await asyncio.gather(*(
        crew.call("POST", f"{OWN}:presign", "ben", {
            "documentType": "other", "name": f"{n}", "mimeType": "application/pdf", "fileSize": size,
        }) for n in range(14)
    ))  # fmt: skip
    assert sorted(reply.status for reply in replies) == [201] * 10 + [400] * 4
    assert {reply.code for reply in replies if reply.status == 400} == {"storage_quota_exceeded"}
    full = await crew.upload("ben")
    assert (full.status, full.code) == (400, "storage_quota_exceeded")
    assert (await crew.upload("ana")).status == 201
    assert (await crew.upload("ben", crew.group)).status == 201


async def test_the_same_form_sent_twice_is_one_document(crew: Crew) -> None:
    first = await crew.uploaded("ana")
    other_boundary = document_form().replace(BOUNDARY.encode(), b"another")
    again = await crew.send("ana", other_boundary, content_type="multipart/form-data; boundary=another")
    assert again.json["id"] == first["id"]
    assert (await crew.uploaded("ana", name="Another"))["id"] != first["id"]


@pytest.mark.contract("rest-activity.wallet.token.refused")
async def test_a_token_expires_and_a_forged_one_is_refused(crew: Crew) -> None:
    token = (await crew.uploaded("ana"))["downloadUrl"]
    for forged in ("x", token[:-4] + "AAAA", "é", token + "AAAA"):
        reply = await crew.file(forged)
        assert (reply.status, reply.code) == (400, "invalid_token")
        assert "refresh_required" not in reply.json
    crew.world.clock.now += TOKEN_LIFETIME
    try:
        reply = await crew.file(token)
        assert (reply.status, reply.code) == (400, "token_expired")
        assert "refresh_required" not in reply.json
    finally:
        crew.world.clock.now -= TOKEN_LIFETIME


async def test_a_removed_member_reads_no_group_document(crew: Crew) -> None:
    document = await crew.uploaded("ana", crew.group)
    token = (await crew.get("ben", document["id"])).json["downloadUrl"]
    path = f"/v1/trips/{crew.trip}/members/{crew.people['ben'].id}"
    assert (await crew.call("DELETE", path, "ana")).status == 204
    assert (await crew.get("ben", document["id"])).code == "not_trip_member"
    assert (await crew.file(token)).status == 404


@pytest.mark.contract("rest-activity.wallet.large")
async def test_a_client_uploads_a_file_itself_and_completes_the_document(crew: Crew) -> None:
    reserved = (await crew.reserve("ana", crew.group)).json
    upload = reserved["upload"]
    assert (upload["method"], upload["fields"]) == ("PUT", {})
    assert (await crew.get("ana", reserved["id"])).code == "document_not_found"
    assert (await crew.complete("ana", reserved["id"])).code == "upload_incomplete"
    for wrong in (PDF[:-1], PDF + b"\0"):
        assert (await crew.world.call("PUT", upload["url"], raw=wrong)).status in (400, 413)
    assert (await crew.world.call("PUT", upload["url"] + "x", raw=PDF)).status == 404
    assert (await crew.world.call("GET", upload["url"])).status == 404
    for _ in range(2):
        assert (await crew.world.call("PUT", upload["url"], raw=PDF)).status == 204
    assert (await crew.complete("ben", reserved["id"])).code == "document_not_found"
    for _ in range(2):
        completed = await crew.complete("ana", reserved["id"])
        assert (completed.status, completed.json["mimeType"]) == (200, "application/pdf")
    # The request is still valid, but a visible document takes no other file.
    assert (await crew.world.call("PUT", upload["url"], raw=PDF[:-1] + b"\0")).status == 204
    assert (await crew.complete("ana", reserved["id"])).status == 200
    assert (await crew.file(completed.json["downloadUrl"])).body == PDF
    assert crew.stored(reserved["id"]) == [reserved["id"]]
    assert [event["type"] for event in await crew.events()] == ["DOCUMENT_ADDED"]


async def test_the_upload_of_another_type_is_not_completed(crew: Crew) -> None:
    html = b"<html><script>alert(1)</script>"
    reserved = (await crew.reserve("ana", size=len(html))).json
    assert (await crew.world.call("PUT", reserved["upload"]["url"], raw=html)).status == 204
    assert (await crew.complete("ana", reserved["id"])).code == "invalid_mime_type"
    assert (await crew.reserve("ana", type_="text/html")).code == "invalid_mime_type"
    assert (await crew.reserve("ana", size=MAX_FILE_BYTES + 1)).status == 400


async def test_an_upload_link_expires(crew: Crew) -> None:
    url = (await crew.reserve("ana")).json["upload"]["url"]
    crew.world.clock.now += UPLOAD_LIFETIME
    try:
        assert (await crew.world.call("PUT", url, raw=PDF)).status == 404
    finally:
        crew.world.clock.now -= UPLOAD_LIFETIME


async def test_the_link_of_a_download_admits_no_upload(crew: Crew) -> None:
    token = (await crew.uploaded("ana"))["downloadUrl"]
    link = (await crew.world.call("GET", f"/v1/wallet/files/{token}")).headers["location"]
    assert (await crew.world.call("PUT", link, raw=PDF)).status == 404
