"""A chat whose functions are killed and whose changes are told twice: every client's view is right in the end."""

import asyncio
import json
from typing import Any
from uuid import uuid4

from rehearsal.running import Rehearsal
from tests.e2e.client import Api, Person, Socket, eventually
from tests.e2e.conftest import Connect, Register
from tests.e2e.test_chat import chat_of, crew, history, say
from tests.rehearsal.account import client
from tests.rehearsal.test_chaos import kill_workers


def view(socket: Socket, trip_id: str) -> dict[str, str]:
    """The messages a client shows, by id: what comes twice is the same."""
    shown: dict[str, str] = {}
    for event in socket.events:
        if event["tripId"] == trip_id and event["type"] == "CHAT_MESSAGE_SENT":
            shown.setdefault(event["payload"]["messageId"], event["payload"]["content"])
    return shown


async def everything(person: Person, trip_id: str) -> dict[str, str]:
    found: dict[str, str] = {}
    query: dict[str, Any] = {"limit": 100}
    while True:
        page = await history(person, trip_id, **query)
        found |= {message["id"]: message["content"] for message in page["messages"]}
        if not page["pagination"]["has_more"]:
            return found
        query["cursor"] = page["pagination"]["next_cursor"]


async def test_functions_of_the_chat_that_die_midway_leave_every_clients_view_right(
    rehearsal: Rehearsal, api: Api, register: Register, connect: Connect
) -> None:
    ana, ben, trip_id = await crew(register)
    phone = Api(api.url, retries=3)
    ana.api = phone
    his = await connect(ben)
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
    kept = {message_id for message_id in acknowledged if message_id is not None}
    assert kept, statuses
    stored = await everything(ana, trip_id)
    assert kept <= stored.keys()
    assert len(set(stored.values())) == len(stored)

    async def all_heard() -> bool:
        return view(his, trip_id) == stored

    await eventually(all_heard, within_s=60)
    in_record = [e["payload"]["messageId"] for e in await ben.events() if e["type"] == "CHAT_MESSAGE_SENT"]
    assert sorted(in_record) == sorted(stored)
    await phone.close()


async def test_changes_told_twice_and_out_of_order_change_no_view(
    rehearsal: Rehearsal, register: Register, connect: Connect
) -> None:
    ana, ben, trip_id = await crew(register)
    his = await connect(ben)
    for number in range(3):
        await say(ana, trip_id, str(number))
    await his.until(lambda: len(view(his, trip_id)) == 3)
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
    before = len(his.events)
    answer = client(rehearsal, "lambda").invoke(
        FunctionName="nomadcrew-rehearsal-chat_fanout",
        Qualifier="live",
        Payload=json.dumps({"Records": records}).encode(),
    )
    assert json.loads(answer["Payload"].read()) == {"batchItemFailures": []}
    await his.until(lambda: len(his.events) >= before + 3)
    assert view(his, trip_id) == await everything(ben, trip_id)
    in_record = [e["payload"]["content"] for e in await ben.events() if e["type"] == "CHAT_MESSAGE_SENT"]
    assert in_record == ["0", "1", "2"]


async def test_a_socket_whose_network_is_gone_does_not_keep_the_others_from_hearing(
    register: Register, connect: Connect
) -> None:
    ana, ben, trip_id = await crew(register)
    dead, alive = await connect(ben), await connect(ben)
    dead.vanish()
    message = await say(ana, trip_id, "anybody there?")
    await alive.event("CHAT_MESSAGE_SENT", trip_id, messageId=message["id"])
    await dead.connect()
    page = await history(ben, trip_id, limit=1)
    assert [one["id"] for one in page["messages"]] == [message["id"]]
