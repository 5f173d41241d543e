"""A chat with killed functions and duplicated stream records: every client ends with the correct messages."""

import asyncio
import json
from typing import Any
from uuid import uuid4

from rehearsal.running import Rehearsal
from tests.e2e.client import Api, Socket, User, eventually
from tests.e2e.conftest import Connect, Register
from tests.e2e.test_chat import chat_of, history, post_message, trip_of_two
from tests.rehearsal.sdk import client
from tests.rehearsal.test_chaos import kill_workers


def view(socket: Socket, trip_id: str) -> dict[str, str]:
    """The messages that a client shows, by id; duplicates are dropped."""
    shown: dict[str, str] = {}
    for event in socket.events:
        if event["tripId"] == trip_id and event["type"] == "CHAT_MESSAGE_SENT":
            shown.setdefault(event["payload"]["messageId"], event["payload"]["content"])
    return shown


async def all_messages(user: User, trip_id: str) -> dict[str, str]:
    found: dict[str, str] = {}
    query: dict[str, Any] = {"limit": 100}
    while True:
        page = await history(user, trip_id, **query)
        found |= {message["id"]: message["content"] for message in page["messages"]}
        if not page["pagination"]["has_more"]:
            return found
        query["cursor"] = page["pagination"]["next_cursor"]


async def test_killed_chat_functions_leave_every_client_with_the_stored_messages(
    rehearsal: Rehearsal, api: Api, register: Register, connect: Connect
) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    phone = Api(api.url, retries=3)
    ana.api = phone
    ben_socket = await connect(ben)
    stop = asyncio.Event()
    statuses: list[int] = []

    async def kill_now_and_then() -> int:
        killed = 0
        while not stop.is_set():
            await asyncio.sleep(1)
            killed += sum(kill_workers(f"nomadcrew-rehearsal-{name}") for name in ("chat", "chat_fanout"))
        return killed

    async def send(number: int) -> str | None:
        message_id = str(uuid4())
        body = {"content": f"message {number}", "id": message_id}
        reply = await ana.send("POST", f"{chat_of(trip_id)}/messages", body)
        statuses.append(reply.status_code)
        return message_id if reply.status_code == 201 else None

    killer = asyncio.create_task(kill_now_and_then())
    acknowledged: list[str | None] = []
    for batch in range(6):
        acknowledged += await asyncio.gather(*(send(batch * 5 + number) for number in range(5)))
    stop.set()
    assert await killer > 0
    created = {message_id for message_id in acknowledged if message_id is not None}
    assert created, statuses
    stored = await all_messages(ana, trip_id)
    assert created <= stored.keys()
    assert len(set(stored.values())) == len(stored)

    async def all_received() -> bool:
        return view(ben_socket, trip_id) == stored

    await eventually(all_received, within_s=60)
    published = [e["payload"]["messageId"] for e in await ben.events() if e["type"] == "CHAT_MESSAGE_SENT"]
    assert sorted(published) == sorted(stored)
    await phone.close()


async def test_duplicate_and_reordered_stream_records_do_not_change_any_client(
    rehearsal: Rehearsal, register: Register, connect: Connect
) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ben_socket = await connect(ben)
    for number in range(3):
        await post_message(ana, trip_id, str(number))
    await ben_socket.until(lambda: len(view(ben_socket, trip_id)) == 3)
    table = client(rehearsal, "dynamodb").query(
        TableName="nomadcrew-rehearsal-ChatMessages",
        KeyConditionExpression="tripId = :trip",
        ExpressionAttributeValues={":trip": {"S": trip_id}},
        ScanIndexForward=False,
    )
    records = [
        {"eventName": "INSERT", "dynamodb": {"NewImage": item, "SequenceNumber": str(number)}}
        for number, item in enumerate(table["Items"])
    ]
    before = len(ben_socket.events)
    answer = client(rehearsal, "lambda").invoke(
        FunctionName="nomadcrew-rehearsal-chat_fanout",
        Qualifier="live",
        Payload=json.dumps({"Records": records}).encode(),
    )
    assert json.loads(answer["Payload"].read()) == {"batchItemFailures": []}
    await ben_socket.until(lambda: len(ben_socket.events) >= before + 3)
    assert view(ben_socket, trip_id) == await all_messages(ben, trip_id)
    published = [e["payload"]["content"] for e in await ben.events() if e["type"] == "CHAT_MESSAGE_SENT"]
    assert published == ["0", "1", "2"]


async def test_a_dead_connection_does_not_delay_other_sockets(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    dead, alive = await connect(ben), await connect(ben)
    dead.drop_network()
    message = await post_message(ana, trip_id, "hello?")
    await alive.event("CHAT_MESSAGE_SENT", trip_id, messageId=message["id"])
    await dead.connect()
    page = await history(ben, trip_id, limit=1)
    assert [one["id"] for one in page["messages"]] == [message["id"]]
