"""Chat on a trip; each line of input is a message: python docs/chat.py ADDRESS ACCESS_TOKEN TRIP_ID"""

import asyncio
import json
import sys
from typing import Any
from urllib.request import Request, urlopen

from websockets.asyncio.client import ClientConnection, connect

seen: set[str] = set()


def show(message: dict[str, Any]) -> None:
    if message["id"] not in seen:
        seen.add(message["id"])
        text = message["content"] or message["attachment"]["name"]
        print(f"  {message['sender']['name']}: {text}", flush=True)


def latest_messages(address: str, token: str, trip: str) -> list[dict[str, Any]]:
    page = Request(f"{address}/v1/trips/{trip}/chat/messages", headers={"authorization": f"Bearer {token}"})
    with urlopen(page) as reply:
        messages: list[dict[str, Any]] = json.load(reply)["messages"]
    return messages[::-1]


async def receive(socket: ClientConnection, trip: str) -> None:
    async for text in socket:
        event = json.loads(text).get("payload") or {}
        if event.get("type") == "CHAT_MESSAGE_SENT" and event["tripId"] == trip:
            show(event["payload"]["message"])


async def chat(address: str, token: str, trip: str) -> None:
    url = address.replace("http", "ws", 1) + "/v1/ws?token=" + token
    async with connect(url, proxy=None) as socket:
        # Connect before reading the page: a message sent in between is then in the page, on the socket, or in both.
        for message in await asyncio.to_thread(latest_messages, address, token, trip):
            show(message)
        receiver = asyncio.create_task(receive(socket, trip))
        while line := await asyncio.to_thread(sys.stdin.readline):
            await socket.send(json.dumps({"action": "sendMessage", "tripId": trip, "content": line}))
        receiver.cancel()


asyncio.run(chat(*sys.argv[1:]))
