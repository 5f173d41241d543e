"""Chat over the public API: requests, sockets, lost networks, repeats and refusals."""

import asyncio
from typing import Any
from urllib.parse import urljoin
from uuid import uuid4

import httpx
import pytest

from tests.e2e.client import Socket, User
from tests.e2e.conftest import Connect, Register
from tests.sample_files import JPEG_OF_A_PHONE, SECRET


def chat_of(trip_id: str) -> str:
    return f"/v1/trips/{trip_id}/chat"


async def post_message(by: User, trip_id: str, text: str, **fields: Any) -> dict[str, Any]:
    message: dict[str, Any] = await by.ask(
        "POST", f"{chat_of(trip_id)}/messages", {"message": text} | fields, status=201
    )
    return message


async def history(by: User, trip_id: str, **query: Any) -> dict[str, Any]:
    parameters = "&".join(f"{name}={value}" for name, value in query.items())
    page: dict[str, Any] = await by.ask("GET", f"{chat_of(trip_id)}/messages?{parameters}")
    return page


async def texts(by: User, trip_id: str, **query: Any) -> list[str]:
    return [message["content"] for message in (await history(by, trip_id, **query))["messages"]]


async def trip_of_two(register: Register) -> tuple[User, User, str]:
    """Two users on a trip."""
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    return ana, ben, trip_id


async def send_message(socket: Socket, trip_id: str, text: str, **fields: Any) -> str:
    """Send a message as the shipped app does; return its id."""
    message_id = str(uuid4())
    forged = {"user": {"id": "somebody-else", "name": "Not Me"}, "timestamp": "2020-01-01T00:00:00.000Z"}
    payload = {"tripId": trip_id, "content": text, "messageId": message_id} | forged
    await socket.send(
        {"type": "CHAT_MESSAGE_SEND", "tripId": str(uuid4()), "userId": "x", "payload": payload | fields}
    )
    return message_id


@pytest.mark.contract("rest-activity.chat.list.client-fields")
async def test_a_message_by_socket_or_request_reaches_every_member_and_is_stored(
    register: Register, connect: Connect
) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ana_socket, ben_socket = await connect(ana), await connect(ben)
    by_socket = await send_message(ana_socket, trip_id, "  Where are you?  ")
    for socket in (ana_socket, ben_socket):
        event = await socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=by_socket)
        assert event["payload"]["user"] == event["payload"]["message"]["sender"] == {"id": ana.id, "name": "Ana"}
    by_rest = await post_message(ben, trip_id, "At the bridge", replyToId=by_socket)
    event = await ana_socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=by_rest["id"])
    assert event["payload"]["message"]["reply_to_id"] == by_socket
    newest, oldest = (await history(ana, trip_id))["messages"]
    assert (oldest["id"], oldest["content"]) == (by_socket, "Where are you?")
    assert newest == {
        "id": by_rest["id"], "trip_id": trip_id, "content": "At the bridge", "reply_to_id": by_socket,
        "sender": {"id": ben.id, "name": "Ben"}, "created_at": by_rest["createdAt"],
    }  # fmt: skip


async def test_an_attachment_without_text_is_sent_received_and_opened(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ana_socket, ben_socket = await connect(ana), await connect(ben)
    path = f"{chat_of(trip_id)}/attachments"
    authorization = {"authorization": f"Bearer {ana.token}", "content-type": "image/jpeg"}
    uploaded = await ana.api.send("POST", f"{path}?name=bridge.jpg", content=JPEG_OF_A_PHONE, headers=authorization)
    assert uploaded.status_code == 201, uploaded.text
    file = uploaded.json()
    message_id = await send_message(ana_socket, trip_id, "", attachmentId=file["id"])
    event = await ben_socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=message_id)
    assert event["payload"]["attachment"] == file
    size = file.pop("sizeBytes")
    assert event["payload"]["message"]["attachment"] == file | {"size_bytes": size}
    [message] = (await history(ben, trip_id))["messages"]
    assert (message["content"], message["attachment"]) == ("", file | {"size_bytes": size})
    link = await ben.send("GET", f"{path}/{file['id']}")
    assert link.status_code == 302, link.text
    # The link is relative on the machine host and absolute on AWS; neither needs a token.
    async with httpx.AsyncClient(trust_env=False) as client:
        opened = await client.get(urljoin(ben.api.url, link.headers["location"]))
    assert (opened.status_code, opened.headers["content-type"], len(opened.content)) == (200, "image/jpeg", size)
    assert SECRET not in opened.content
    await ana.ask("DELETE", f"{chat_of(trip_id)}/messages/{message_id}")
    assert (await ben.send("GET", f"{path}/{file['id']}")).status_code == 404


async def test_a_frame_of_the_second_dialect_is_acknowledged(register: Register, connect: Connect) -> None:
    ana, _, trip_id = await trip_of_two(register)
    socket = await connect(ana)
    frame = {"action": "sendMessage", "tripId": trip_id, "content": "hello", "messageId": str(uuid4()),
             "requestId": "7"}  # fmt: skip
    for _ in range(2):
        answer = await socket.answer(frame)
        assert (answer["type"], answer["payload"]["messageId"]) == ("ack", frame["messageId"])
        assert answer["payload"]["requestId"] == "7"
    assert await texts(ana, trip_id) == ["hello"]


async def test_a_refused_message_gets_an_error_and_the_socket_stays_open(
    register: Register, connect: Connect
) -> None:
    ana, _, trip_id = await trip_of_two(register)
    eve = await register("eve")
    socket = await connect(eve)
    for payload, code in (
        ({"tripId": trip_id, "content": "let me in"}, "not_trip_member"),
        ({"tripId": trip_id}, "empty_message"),
        ({"tripId": trip_id, "content": "\u200b"}, "empty_message"),
        ({"tripId": trip_id, "content": "a\x00b"}, "invalid_request_payload"),
        ({"tripId": trip_id, "content": "x" * 1001}, "message_too_long"),
        ({"content": "nowhere"}, "invalid_request_payload"),
        ({"tripId": 7, "content": "nowhere"}, "invalid_request_payload"),
    ):
        answer = await socket.answer({"type": "CHAT_MESSAGE_SEND", "payload": payload})
        assert (answer["type"], answer["payload"]["code"]) == ("error", code)
        assert answer["error"]
    assert await texts(ana, trip_id) == []
    assert (await socket.answer({"type": "ping"}))["type"] == "pong"


async def test_half_an_emoji_at_the_end_of_a_text_is_replaced(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ana_socket, ben_socket = await connect(ana), await connect(ben)
    message_id = await send_message(ana_socket, trip_id, "to the sea \ud83c")
    event = await ben_socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=message_id)
    assert event["payload"]["content"] == "to the sea \ufffd"
    assert ana_socket.open
    assert await texts(ben, trip_id) == ["to the sea \ufffd"]


async def test_a_client_that_lost_its_network_reads_the_messages_after_the_last_one(
    register: Register, connect: Connect
) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    socket = await connect(ben)
    seen = await post_message(ana, trip_id, "seen")
    await socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=seen["id"])
    socket.drop_network()
    missed = [(await post_message(ana, trip_id, f"missed {n}"))["id"] for n in range(7)]
    found: list[str] = []
    cursor: str | None = seen["id"]
    while cursor is not None:
        page = await history(ben, trip_id, after=cursor, limit=3)
        found += [message["id"] for message in page["messages"]]
        cursor = page["pagination"].get("next_cursor")
    # Clocks may differ, so the message of the cursor may be repeated.
    assert [message_id for message_id in found if message_id != seen["id"]] == missed


@pytest.mark.contract("rest-activity.chat.send.compat-id")
async def test_one_message_sent_in_every_way_at_once_is_stored_once(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ana_socket, ben_socket = await connect(ana), await connect(ben)
    message_id = await send_message(ana_socket, trip_id, "once")
    repeats = [post_message(ana, trip_id, "once", id=message_id) for _ in range(5)]
    replies = await asyncio.gather(*repeats)
    assert len({reply["createdAt"] for reply in replies}) == 1
    await send_message(ana_socket, trip_id, "once", messageId=message_id)
    await ben_socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=message_id)
    assert await texts(ben, trip_id) == ["once"]
    assert (
        await ben.send("POST", f"{chat_of(trip_id)}/messages", {"message": "mine", "id": message_id})
    ).status_code == 409


@pytest.mark.contract("rest-activity.chat.list", "rest-activity.chat.list.compat-cursors")
async def test_history_pages_have_no_gaps_while_others_write(register: Register) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    message_ids = [(await post_message(ana if n % 2 else ben, trip_id, str(n)))["id"] for n in range(9)]
    found: list[str] = []
    query: dict[str, Any] = {"limit": 4}
    while True:
        page = await history(ben, trip_id, **query)
        found += [message["id"] for message in page["messages"]]
        assert page["pagination"]["limit"] == 4
        await post_message(ana, trip_id, "meanwhile")
        if not page["pagination"]["has_more"]:
            break
        query["cursor"] = page["pagination"]["next_cursor"]
    assert found == message_ids[::-1]
    assert await texts(ben, trip_id, before=message_ids[2], limit=50) == ["1", "0"]
    assert (await ana.send("GET", f"{chat_of(trip_id)}/messages?cursor=nowhere")).status_code == 400


@pytest.mark.contract(
    "rest-activity.chat.react",
    "rest-activity.chat.unreact",
    "rest-activity.chat.reactions",
    "rest-activity.chat.edit",
    "rest-activity.chat.delete",
)
async def test_a_message_is_edited_reacted_to_found_and_deleted(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ben_socket = await connect(ben)
    message_id = (await post_message(ana, trip_id, "Diner at eight"))["id"]
    path = f"{chat_of(trip_id)}/messages/{message_id}"
    edited = await ana.ask("PUT", path, {"content": "Dinner at eight"})
    assert edited["content"] == "Dinner at eight"
    await ben_socket.event("CHAT_MESSAGE_EDITED", trip_id, messageId=message_id, content="Dinner at eight")
    assert await texts(ben, trip_id, q="EIGHT%20dinner") == ["Dinner at eight"]
    assert await texts(ben, trip_id, q="diner") == []

    for _ in range(2):
        assert await ben.ask("POST", f"{path}/reactions", {"emoji": "👍"}, status=201) == {
            "messageId": message_id, "userId": ben.id, "emoji": "👍"
        }  # fmt: skip
    await ben_socket.event("CHAT_REACTION_ADDED", trip_id, messageId=message_id, reaction="👍")
    [shown] = (await history(ben, trip_id))["messages"]
    assert shown["reactions"] == [{"emoji": "👍", "count": 1, "mine": True}]
    [reaction] = await ana.ask("GET", f"{path}/reactions")
    assert (reaction["message_id"], reaction["user_id"], reaction["emoji"]) == (message_id, ben.id, "👍")
    assert (await ben.send("DELETE", f"{path}/reactions/👍")).status_code == 200
    await ben_socket.event("CHAT_REACTION_REMOVED", trip_id, messageId=message_id, reaction="👍")

    assert (await ben.send("DELETE", path)).status_code == 403
    for _ in range(2):
        assert (await ana.send("DELETE", path)).status_code == 200
    await ben_socket.event("CHAT_MESSAGE_DELETED", trip_id, messageId=message_id)
    [tombstone] = (await history(ben, trip_id))["messages"]
    assert tombstone["deleted_at"]
    assert "eight" not in tombstone["content"]


async def test_typing_is_broadcast_to_the_others_and_not_stored(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ana_socket, ben_socket = await connect(ana), await connect(ben)
    for is_typing in (True, False):
        await ana_socket.send({"type": "TYPING_STATUS", "payload": {"tripId": trip_id, "isTyping": is_typing}})
        event = await ben_socket.event("CHAT_TYPING_STATUS", trip_id, isTyping=is_typing)
        assert (event["payload"]["userId"], event["payload"]["username"]) == (ana.id, "Ana")
    assert "CHAT_TYPING_STATUS" not in {event["type"] for event in await ben.events()}
    # The event is not stored, says so with `kept: false`, and is not a valid cursor.
    assert event["kept"] is False
    assert (await ben.send("GET", f"/v1/events?after={event['id']}")).status_code == 400
    assert not any("kept" in event for event in await ben.events())


@pytest.mark.contract("rest-activity.chat.read")
async def test_read_receipts_list_the_last_read_message(register: Register) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    first, second = await post_message(ana, trip_id, "one"), await post_message(ana, trip_id, "two")
    for method, path, body in (
        ("PUT", "messages/read", {"lastReadMessageId": second["id"]}),
        ("POST", "messages/read", {"message_id": first["id"]}),
        ("PUT", "last-read", {"last_message_id": first["id"]}),
    ):
        reply = await ben.ask(method, f"{chat_of(trip_id)}/{path}", body)
        assert reply["success"] is True
    [receipt] = await ana.ask("GET", f"{chat_of(trip_id)}/read-receipts")
    assert (receipt["user"], receipt["message_id"]) == ({"id": ben.id, "name": "Ben"}, second["id"])


@pytest.mark.contract("rest-activity.chat.send.compat-names")
async def test_null_means_absent(register: Register, connect: Connect) -> None:
    ana, _, trip_id = await trip_of_two(register)
    nothing = {"id": None, "messageId": None, "temp_id": None, "replyToId": None, "attachmentId": None}
    message = await ana.ask("POST", f"{chat_of(trip_id)}/messages", nothing | {"message": None, "content": "one"})
    await ana.ask("PUT", f"{chat_of(trip_id)}/messages/{message['id']}", {"content": None, "message": "two"})
    socket = await connect(ana)
    frame = {"action": "sendMessage", "tripId": trip_id, "content": None, "message": "three", "replyToId": None}
    assert (await socket.answer(frame))["type"] == "ack"
    assert await texts(ana, trip_id) == ["three", "two"]


@pytest.mark.contract("rest-activity.chat.send")
@pytest.mark.parametrize(
    "body", [{}, {"message": None}, {"message": "   "}, {"message": "x" * 1001}, {"message": 7}, {"id": "no-id"}]
)
async def test_an_invalid_message_is_refused(register: Register, body: dict[str, Any]) -> None:
    ana, _, trip_id = await trip_of_two(register)
    reply = await ana.send("POST", f"{chat_of(trip_id)}/messages", body)
    assert (reply.status_code, reply.json()["type"]) == (400, "VALIDATION")
