"""Chat on a trip in a terminal, a line a message: python docs/chat.py ADDRESS ACCESS_TOKEN TRIP"""

import asyncio
import json
import sys

from websockets.asyncio.client import ClientConnection, connect


async def hear(socket: ClientConnection, trip: str) -> None:
    async for text in socket:
        event = json.loads(text).get("payload") or {}
        if event.get("type") == "CHAT_MESSAGE_SENT" and event["tripId"] == trip:
            said = event["payload"]
            print(f"  {said['user']['name']}: {said['content']}", flush=True)


async def chat(address: str, token: str, trip: str) -> None:
    url = address.replace("http", "ws", 1) + "/v1/ws?token=" + token
    async with connect(url, proxy=None) as socket:
        hearing = asyncio.create_task(hear(socket, trip))
        while line := await asyncio.to_thread(sys.stdin.readline):
            await socket.send(json.dumps({"action": "sendMessage", "tripId": trip, "content": line}))
        hearing.cancel()


asyncio.run(chat(*sys.argv[1:]))
