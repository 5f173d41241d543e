"""The compatibility checklist of the realtime contract, one test per line."""

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from tests.e2e.client import Api, Socket, TokenBy, User
from tests.e2e.conftest import Connect, Register
from tests.e2e.server import Server
from tests.e2e.test_chat import chat_of, history, post_message, send_message, texts, trip_of_two
from tests.e2e.test_sockets import METADATA, OWN_TOKENS, refusal, token_expiring

# The app closes a socket that receives nothing for a minute.
SILENCE_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def idle(url: str, mailbox: Any) -> AsyncIterator[tuple[Socket, float]]:
    """An idle socket and its start time; it waits while the other tests run."""
    api = Api(url, sockets=os.environ.get("E2E_SOCKETS_URL"), mailbox=mailbox)
    socket = await (await api.register("idle")).connect()
    yield socket, time.monotonic()
    await socket.close()
    await api.close()


async def test_01_connect_with_the_jwt_only_in_sec_websocket_protocol_and_with_only_token_in_the_query(
    register: Register, connect: Connect
) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    for by in (TokenBy.SUBPROTOCOL, TokenBy.QUERY):
        socket = await connect(ana, by=by)
        [greeting] = [frame for frame in socket.frames if frame["type"] == "connected"]
        cursor = greeting["payload"].pop("cursor")
        assert greeting["payload"] == {"userId": ana.id, "tripCount": 1, "trips": [trip_id]}
        assert (await ana.ask("GET", f"/v1/sync?since={cursor}"))["changes"] == []
        assert socket.subprotocol == (ana.token if by is TokenBy.SUBPROTOCOL else None)


async def test_02_two_sockets_of_one_user_both_receive_every_event_and_neither_is_closed(
    register: Register, connect: Connect
) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    first, second = await connect(ana), await connect(ana)
    message_ids = [(await post_message(ben, trip_id, text))["id"] for text in ("one", "two", "three")]
    for socket in (first, second):
        for message_id in message_ids:
            await socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=message_id)
        assert socket.open
    await second.close()
    assert (await first.answer({"type": "ping"}))["type"] == "pong"


async def test_04_chat_message_send_twice_with_the_same_id_is_one_message_broadcast_in_both_forms(
    register: Register, connect: Connect
) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    sockets = [await connect(ana), await connect(ben)]
    message_id = await send_message(sockets[0], trip_id, "hello")
    await send_message(sockets[0], trip_id, "hello", messageId=message_id)
    end = await send_message(sockets[0], trip_id, "end")
    for socket in sockets:
        payload = (await socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=message_id))["payload"]
        assert payload["content"] == payload["message"]["content"] == "hello"
        assert payload["user"] == payload["message"]["sender"] == {"id": ana.id, "name": "Ana"}
        assert (payload["tripId"], payload["message"]["trip_id"]) == (trip_id, trip_id)
        assert payload["message"]["id"] == message_id
        assert payload["timestamp"] == payload["message"]["created_at"]
        await socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=end)
        event_ids = {e["id"] for e in socket.events if (e["payload"] or {}).get("messageId") == message_id}
        assert len(event_ids) == 1
    assert [message["id"] for message in (await history(ben, trip_id))["messages"]] == [end, message_id]


async def test_05_a_payload_trip_that_the_user_is_not_in_stores_and_broadcasts_nothing_and_the_socket_stays_open(
    register: Register, connect: Connect
) -> None:
    ana, _, trip_id = await trip_of_two(register)
    eve = await register("eve")
    own = await eve.new_trip()
    ana_socket, eve_socket = await connect(ana), await connect(eve)
    frame = {"type": "CHAT_MESSAGE_SEND", "tripId": own, "userId": eve.id}
    payload = {"tripId": trip_id, "content": "intruder", "messageId": str(uuid4())}
    assert (await eve_socket.answer(frame | {"payload": payload}))["type"] == "error"
    for type_, more in (("TYPING_STATUS", {"isTyping": True}), ("READ_RECEIPT", {"messageId": str(uuid4())})):
        answer = await eve_socket.answer({"type": type_, "tripId": own, "payload": {"tripId": trip_id} | more})
        assert answer["type"] == "error"
    end = (await post_message(ana, trip_id, "end"))["id"]
    await ana_socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=end)
    assert {e["userId"] for e in ana_socket.events} == {ana.id}
    assert await texts(ana, trip_id) == ["end"]
    assert (await eve_socket.answer({"type": "ping"}))["type"] == "pong"


@pytest.mark.contract("rest-activity.chat.read.forward")
@pytest.mark.parametrize("first", ["socket", "rest"])
async def test_06_read_receipt_by_socket_and_post_in_either_order_is_one_receipt_that_only_moves_forward(
    register: Register, connect: Connect, first: str
) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    older, newer = await post_message(ana, trip_id, "one"), await post_message(ana, trip_id, "two")
    ana_socket, ben_socket = await connect(ana), await connect(ben)

    async def by_socket(message_id: str) -> None:
        payload = {"tripId": trip_id, "messageId": message_id, "userId": ben.id, "userName": "x"}
        await ben_socket.send({"type": "READ_RECEIPT", "tripId": trip_id, "payload": payload})
        await ben_socket.answer({"type": "ping"})

    async def by_rest(message_id: str) -> None:
        await ben.ask("POST", f"{chat_of(trip_id)}/messages/read", {"message_id": message_id})

    reports = [by_socket, by_rest] if first == "socket" else [by_rest, by_socket]
    for report_read in reports:
        await report_read(newer["id"])
    await by_rest(older["id"])
    payload = (await ana_socket.event("CHAT_READ_RECEIPT", trip_id))["payload"]
    assert (payload["messageId"], payload["userId"], payload["userName"]) == (newer["id"], ben.id, "Ben")
    assert payload["user"] == {"id": ben.id, "name": "Ben"}
    end = (await post_message(ana, trip_id, "end"))["id"]
    await ana_socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=end)
    assert len({e["id"] for e in ana_socket.events if e["type"] == "CHAT_READ_RECEIPT"}) == 1
    [receipt] = await ana.ask("GET", f"{chat_of(trip_id)}/read-receipts")
    assert receipt["message_id"] == newer["id"]


@pytest.mark.contract("rest-core.envelope")
async def test_07_every_envelope_has_an_id_a_trip_a_utc_timestamp_a_version_and_a_source(
    register: Register, connect: Connect
) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    live = await connect(ana)
    message = await post_message(ben, trip_id, "hello")
    path = f"{chat_of(trip_id)}/messages/{message['id']}"
    await ben.ask("PUT", path, {"content": "hello!"})
    await ben.ask("POST", f"{path}/reactions", {"emoji": "🎉"})
    await ben.ask("DELETE", f"{path}/reactions/🎉")
    await ben.ask("POST", f"{chat_of(trip_id)}/messages/read", {"message_id": message["id"]})
    await ben.ask("DELETE", path)
    ben_socket = await connect(ben)
    await ben_socket.send({"type": "TYPING_STATUS", "payload": {"tripId": trip_id, "isTyping": True}})
    types = {"CHAT_MESSAGE_SENT", "CHAT_MESSAGE_EDITED", "CHAT_REACTION_ADDED", "CHAT_REACTION_REMOVED",
             "CHAT_READ_RECEIPT", "CHAT_MESSAGE_DELETED", "CHAT_TYPING_STATUS"}  # fmt: skip
    await live.until(lambda: {event["type"] for event in live.events} >= types)
    for event in live.events:
        UUID(event["id"])
        assert event["tripId"] == trip_id
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", event["timestamp"])
        assert event["version"] == 1
        assert event["metadata"]["source"]


async def test_08_a_member_added_while_connected_gets_events_and_a_removed_one_member_removed_and_nothing_after(
    register: Register, connect: Connect
) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    ana_socket, ben_socket = await connect(ana), await connect(ben)
    await ana.add_member(trip_id, ben)
    during_membership = (await post_message(ana, trip_id, "welcome"))["id"]
    await ben_socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=during_membership)
    await ana.ask("DELETE", f"/v1/trips/{trip_id}/members/{ben.id}")
    after_removal = (await post_message(ana, trip_id, "he is gone"))["id"]
    await ana_socket.event("CHAT_MESSAGE_SENT", trip_id, messageId=after_removal)
    await ben_socket.event("MEMBER_REMOVED", trip_id, userId=ben.id)
    await ben_socket.answer({"type": "ping"})
    types = [event["type"] for event in ben_socket.events]
    assert set(types[types.index("MEMBER_REMOVED") + 1 :]) <= {"notification.created"}
    assert after_removal not in json.dumps(ben_socket.events)


async def test_09_ping_subscribe_and_unsubscribe_answer_and_garbage_does_not_kill_other_sockets(
    register: Register, connect: Connect
) -> None:
    ana = await register("ana")
    about = {"payload": {"tripId": await ana.new_trip()}}
    intact, broken = await connect(ana), await connect(ana)
    await broken.send_text("no json")
    assert await intact.answer({"type": "ping"}) == {"type": "pong"}
    assert await intact.answer({"type": "subscribe"} | about) == {"type": "subscribed"} | about
    assert await intact.answer({"type": "unsubscribe"} | about) == {"type": "unsubscribed"} | about
    assert (await intact.answer({"type": "unsubscribe"} | about))["type"] == "error"
    assert (await intact.answer({"type": "subscribe"}))["error"]


@pytest.mark.contract("rest-core.invite.client-notification")
async def test_10_notification_created_reaches_every_socket_with_metadata_of_the_strict_schema(
    register: Register, connect: Connect
) -> None:
    ana, ben = await register("ana"), await register("ben")
    sockets = [await connect(ben), await connect(ben)]
    await ana.invite(await ana.new_trip(), ben.email)
    for socket in sockets:
        event = await socket.event("notification.created", type="TRIP_INVITATION_RECEIVED")
        assert event["id"]
        UUID(event["payload"]["id"])
        metadata = event["payload"]["metadata"]
        assert metadata.keys() == METADATA["TRIP_INVITATION_RECEIVED"]
        assert all(isinstance(value, str) for value in metadata.values())


@pytest.mark.one_machine(OWN_TOKENS)
async def test_11_an_expired_token_is_refused_with_401_and_an_open_socket_closed_so_that_the_client_refreshes(
    server: Server, api: Api, register: Register, connect: Connect
) -> None:
    ana: User = await register("ana")
    status, _ = await refusal(api.sockets, await token_expiring(server, ana, in_s=-120))
    assert status == 401
    ana.token = await token_expiring(server, ana, in_s=1.5)
    socket = await connect(ana)
    assert await socket.closed() in (1001, 4401)


async def test_03_an_idle_socket_receives_a_data_frame_before_a_minute_has_passed(
    idle: tuple[Socket, float],
) -> None:
    """Unit tests simulate five minutes; this test waits for the first minute in real time."""
    socket, since = idle
    async with asyncio.timeout(SILENCE_S - (time.monotonic() - since)):
        await socket.until(lambda: [f for f in socket.frames if f["type"] == "pong"], within_s=SILENCE_S)
    assert socket.open
