"""Print what happens on somebody's trips while it happens: python docs/listen.py ADDRESS ACCESS_TOKEN"""

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
            said = event.get("payload") or {}
            words = said.get("message") or said.get("text") or said.get("role") or ""
            print("  live:", event.get("type", frame["type"]), words, flush=True)


asyncio.run(listen(*sys.argv[1:]))
