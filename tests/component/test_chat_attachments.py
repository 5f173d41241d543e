"""Files in a chat, from the upload to the deletion, on the machine host."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from nomadcrew.api.socket_frames import frames
from nomadcrew.core.chat.attachments import forget_files
from nomadcrew.core.files.model import MAX_FILE_BYTES
from nomadcrew.core.files.ports import LINK_LIFETIME
from nomadcrew.core.retention import UNUSED_ATTACHMENT_RETENTION
from nomadcrew.hosts.aws.http_event import MAX_BODY_BYTES
from nomadcrew.web.sockets import handle_frame
from tests.postgres import Postgres
from tests.sample_files import JPEG_OF_A_PHONE, PDF, PNG_OF_A_PHONE, SECRET, WEBP_OF_A_PHONE, jpeg
from tests.world import Answer, User, World, world


@dataclass
class Crew:
    """A trip of ana and ben, and cleo, who is not a member."""

    world: World
    files: Path
    trip: UUID
    people: dict[str, User]

    @property
    def chat(self) -> str:
        return f"/v1/trips/{self.trip}/chat"

    async def upload(self, by: str, content: bytes = JPEG_OF_A_PHONE, query: str = "", **headers: str) -> Answer:
        path = f"{self.chat}/attachments{query}"
        return await self.world.call("POST", path, by=self.people[by], raw=content, headers=headers)

    async def uploaded(self, by: str, content: bytes = JPEG_OF_A_PHONE) -> str:
        reply = await self.upload(by, content)
        assert reply.status == 201, reply.body
        return str(reply.json["id"])

    async def say(self, by: str, **body: object) -> Answer:
        return await self.world.call("POST", f"{self.chat}/messages", by=self.people[by], body=body)

    async def say_on_a_socket(self, by: str, **fields: object) -> Any:
        frame = {"action": "sendMessage", "tripId": str(self.trip), **fields}
        answer = await handle_frame(frames, "c", self.people[by].id, json.dumps(frame), self.world.ports)
        return json.loads(answer or "null")

    async def messages(self, by: str = "ben") -> list[dict[str, Any]]:
        reply = await self.world.call("GET", f"{self.chat}/messages", by=self.people[by])
        return list(reply.json["messages"])

    async def link(self, by: str, attachment: str) -> Answer:
        return await self.world.call("GET", f"{self.chat}/attachments/{attachment}", by=self.people[by])

    async def clean_up(self) -> int:
        ports = self.world.ports
        return await forget_files(attachments=ports.attachments, files=ports.files, now=self.world.clock())

    def stored_files(self) -> list[Path]:
        return [path for path in self.files.rglob("*") if path.is_file()]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, Path]]:
    home = tmp_path_factory.mktemp("attachments")
    async with world(postgres, home, template=template, environment={"NOMADCREW_RATE_LIMITS": "off"}) as made:
        yield made, home


@pytest_asyncio.fixture(loop_scope="session")
async def crew(stage: tuple[World, Path]) -> Crew:
    made, home = stage
    people = {name: await made.user(f"{name}-{uuid4().hex[:8]}") for name in ("ana", "ben", "cleo")}
    trip = await made.trip(people["ana"])
    await made.join(trip, people["ana"], people["ben"])
    return Crew(made, home / "files" / "attachments" / str(trip), trip, people)


async def test_members_send_read_and_download_a_picture(crew: Crew) -> None:
    uploaded = await crew.upload("ana", query="?name=at%20the%20bridge.JPG", content_type="text/html")
    assert uploaded.status == 201
    attachment = uploaded.json
    assert (attachment["type"], attachment["name"]) == ("image/jpeg", "at the bridge.JPG")
    sent = await crew.say("ana", attachmentId=attachment["id"])
    assert (sent.status, sent.json["message"], sent.json["attachment"]) == (201, "", attachment)
    [message] = await crew.messages()
    size = attachment.pop("sizeBytes")
    assert message["attachment"] == attachment | {"size_bytes": size}
    link = await crew.link("ben", attachment["id"])
    assert (link.status, link.headers["cache-control"]) == (302, "no-store")
    file = await crew.world.call("GET", link.headers["location"])
    assert (file.status, len(file.body)) == (200, size)
    assert SECRET in JPEG_OF_A_PHONE
    assert SECRET not in file.body
    assert {name: file.headers[name] for name in (
        "content-type", "content-disposition", "content-security-policy", "x-content-type-options", "cache-control",
    )} == {
        "content-type": "image/jpeg",
        "content-disposition": "attachment; filename*=UTF-8''at%20the%20bridge.JPG",
        "content-security-policy": "default-src 'none'; sandbox",
        "x-content-type-options": "nosniff",
        "cache-control": "private, max-age=900",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "type_"),
    [(PNG_OF_A_PHONE, "image/png"), (WEBP_OF_A_PHONE, "image/webp"), (PDF, "application/pdf")],
)
async def test_the_bytes_of_a_file_decide_its_type(crew: Crew, content: bytes, type_: str) -> None:
    assert (await crew.upload("ana", content)).json["type"] == type_


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_mime_type"),
        (b"<html><script>alert(1)</script>", "invalid_mime_type"),
        (b"GIF89a" + JPEG_OF_A_PHONE, "invalid_mime_type"),
        (b"\0\0\0\x18ftypheic" + JPEG_OF_A_PHONE, "invalid_mime_type"),
        (b"PK\3\4" + PDF, "invalid_mime_type"),
        (JPEG_OF_A_PHONE[:60], "file_not_readable"),
        (b"\xff\xd8\xff<script>alert(1)</script>", "file_not_readable"),
        (PNG_OF_A_PHONE[:60], "file_not_readable"),
        (b"%PDF-1.7", "file_not_readable"),
        (b"RIFF\xff\xff\xff\xffWEBP", "file_not_readable"),
    ],
)
async def test_a_refused_file_is_not_stored(crew: Crew, content: bytes, code: str) -> None:
    before = await crew.world.snapshot()
    reply = await crew.upload("ana", content, content_type="image/jpeg")
    assert (reply.status, reply.code) == (400, code)
    assert await crew.world.snapshot() == before
    assert crew.stored_files() == []


async def test_too_large_files_are_refused_at_a_lower_limit_behind_the_gateway(crew: Crew) -> None:
    largest = jpeg() + bytes(MAX_FILE_BYTES - len(jpeg()))
    assert (await crew.upload("ana", largest)).status == 201
    assert (await crew.upload("ana", largest + b"\0")).status == 413
    path, by = f"{crew.chat}/attachments", crew.people["ana"]
    allowed = await crew.world.invoke("POST", path, by=by, raw=largest[:MAX_BODY_BYTES])
    assert allowed.status == 201
    refused = await crew.world.invoke("POST", path, by=by, raw=largest[: MAX_BODY_BYTES + 1])
    assert (refused.status, refused.json["message"]) == (413, "The request body exceeds 4 MiB.")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", "photo.jpg"),
        ("..%2F..%2Fetc%2Fpasswd", "passwd.jpg"),
        ("C%3A%5Cphotos%5Cx.jpeg", "x.jpeg"),
        ("page.html", "page.html.jpg"),
        ("a%0D%0Ab%E2%80%AEgpj.jpg", "a bgpj.jpg"),
        (
            "%F0%9F%91%A8%E2%80%8D%F0%9F%91%A9%E2%80%8D%F0%9F%91%A7.png",
            "\U0001f468\u200d\U0001f469\u200d\U0001f467.png.jpg",
        ),
        ("%D9%85%DB%8C%E2%80%8C%D8%AE%D9%88%D8%A7%D9%87%D9%85.jpg", "می\u200cخواهم.jpg"),
        ("...", "photo.jpg"),
        (".jpg", "jpg.jpg"),
    ],
)
async def test_a_file_name_gets_the_suffix_of_its_type(crew: Crew, given: str, shown: str) -> None:
    assert (await crew.upload("ana", query=f"?name={given}")).json["name"] == shown


async def test_a_long_file_name_is_cut(crew: Crew) -> None:
    name = (await crew.upload("ana", query=f"?name={'x' * 300}.png")).json["name"]
    assert (len(name), name[-4:]) == (120, ".jpg")


async def test_a_message_with_a_file_sent_twice_is_stored_once(crew: Crew) -> None:
    body = {"attachmentId": await crew.uploaded("ana"), "id": str(uuid4()), "message": "look"}
    first, again = await crew.say("ana", **body), await crew.say("ana", **body)
    assert (first.status, first.body) == (again.status, again.body)
    without_id = {"attachmentId": await crew.uploaded("ana", PDF), "message": "and read"}
    first, again = await crew.say("ana", **without_id), await crew.say("ana", **without_id)
    assert (first.status, first.body) == (again.status, again.body)
    assert [message["content"] for message in await crew.messages()] == ["and read", "look"]


async def test_an_upload_sent_twice_is_stored_once(crew: Crew) -> None:
    assert (await crew.upload("ana")).body == (await crew.upload("ana")).body
    keyed = [await crew.upload("ben", PDF, idempotency_key="once") for _ in range(2)]
    assert keyed[0].body == keyed[1].body
    assert len(crew.stored_files()) == 2


async def test_a_file_belongs_to_its_uploader_its_trip_and_one_message(crew: Crew) -> None:
    attachment = await crew.uploaded("ana")
    assert (await crew.say("ben", attachmentId=attachment)).code == "attachment_not_found"
    elsewhere = await crew.world.trip(crew.people["ana"], name="elsewhere")
    path, by = f"/v1/trips/{elsewhere}/chat", crew.people["ana"]
    body = {"attachmentId": attachment}
    assert (await crew.world.call("POST", f"{path}/messages", by=by, body=body)).code == "attachment_not_found"
    assert (await crew.link("ben", attachment)).code == "attachment_not_found"
    assert (await crew.link("ana", attachment)).status == 302
    assert (await crew.say("ana", attachmentId=attachment)).status == 201
    used = await crew.say("ana", attachmentId=attachment, message="again")
    assert (used.status, used.code) == (409, "attachment_used")
    assert (await crew.link("ben", attachment)).status == 302
    assert (await crew.link("cleo", attachment)).code == "not_trip_member"
    assert (await crew.world.call("GET", f"{path}/attachments/{attachment}", by=by)).code == "attachment_not_found"
    assert (await crew.link("ana", "no-id")).code == "attachment_not_found"


async def test_a_send_message_frame_can_have_a_file(crew: Crew) -> None:
    attachment, message_id = await crew.uploaded("ana"), str(uuid4())
    for _ in range(2):
        answer = await crew.say_on_a_socket("ana", attachmentId=attachment, messageId=message_id)
        assert (answer["type"], answer["payload"]["messageId"]) == ("ack", message_id)
    [message] = await crew.messages()
    assert (message["id"], message["content"], message["attachment"]["id"]) == (message_id, "", attachment)
    for by, fields, code in (
        ("ana", {"attachmentId": attachment, "content": "again"}, "attachment_used"),
        ("ben", {"attachmentId": await crew.uploaded("ana", PDF)}, "attachment_not_found"),
        ("ana", {"attachmentId": "no-id"}, "invalid_request_payload"),
        ("ana", {}, "empty_message"),
    ):
        answer = await crew.say_on_a_socket(by, **fields)
        assert (answer["type"], answer["payload"]["code"]) == ("error", code)
    assert [message["id"] for message in await crew.messages()] == [message_id]


async def test_an_empty_message_needs_a_file(crew: Crew) -> None:
    assert (await crew.say("ana", message=" ")).code == "empty_message"
    assert (await crew.say("ana", attachmentId=str(uuid4()))).code == "attachment_not_found"


async def test_an_expired_or_changed_download_link_is_refused(crew: Crew) -> None:
    link = (await crew.link("ana", await crew.uploaded("ana"))).headers["location"]
    assert (await crew.world.call("GET", link[:-2])).status == 404
    assert (await crew.world.call("GET", "/v1/files/")).status == 404
    before = crew.world.clock()
    crew.world.clock.now = before + LINK_LIFETIME
    try:
        assert (await crew.world.call("GET", link)).status == 404
    finally:
        crew.world.clock.now = before


async def test_deleting_a_message_deletes_its_file(crew: Crew) -> None:
    attachment = await crew.uploaded("ana")
    sent = await crew.say("ana", attachmentId=attachment, message="look")
    link = (await crew.link("ben", attachment)).headers["location"]
    path = f"{crew.chat}/messages/{sent.json['id']}"
    assert (await crew.world.call("DELETE", path, by=crew.people["ana"])).status == 200
    [message] = await crew.messages()
    assert "attachment" not in message
    assert (await crew.link("ben", attachment)).code == "attachment_not_found"
    events = await crew.world.call("GET", "/v1/events?limit=100", by=crew.people["ben"])
    assert attachment not in events.body.decode()
    # The link that was given out before ends with the message, before the upkeep runs.
    assert (await crew.world.call("GET", link)).status == 404
    assert crew.stored_files() == []
    assert await crew.clean_up() == 1
    assert await crew.clean_up() == 0


async def test_unsent_files_are_deleted_after_a_day(crew: Crew) -> None:
    unused, used = await crew.uploaded("ana"), await crew.uploaded("ana", PDF)
    assert (await crew.say("ana", attachmentId=used)).status == 201
    before = crew.world.clock()
    crew.world.clock.now = before + UNUSED_ATTACHMENT_RETENTION + timedelta(seconds=1)
    try:
        await crew.clean_up()
    finally:
        crew.world.clock.now = before
    assert [path.name for path in crew.stored_files()] == [used]
    assert (await crew.say("ana", attachmentId=unused)).code == "attachment_not_found"


async def test_files_of_a_deleted_trip_are_deleted(crew: Crew) -> None:
    assert (await crew.say("ana", attachmentId=await crew.uploaded("ana"))).status == 201
    assert await crew.clean_up() == 0
    assert (await crew.world.call("DELETE", f"/v1/trips/{crew.trip}", by=crew.people["ana"])).status < 300
    assert await crew.clean_up() == 1
    assert crew.stored_files() == []
