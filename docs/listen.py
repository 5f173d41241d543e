"""Print the events of a user's trips as they happen: python docs/listen.py ADDRESS ACCESS_TOKEN"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect


async def listen(address: str, token: str) -> None:
    url = address.replace("http", "ws", 1) + "/v1/ws?token=" + token
    async with connect(url, proxy=None) as socket:
        async for text in socket:
            frame = json.loads(text)
            event = frame["payload"]
            payload = event.get("payload") or {}
            detail = payload.get("message") or payload.get("text") or payload.get("role") or ""
            print("  live:", event.get("type", frame["type"]), detail, flush=True)


asyncio.run(listen(*sys.argv[1:]))
