"""Reads a request and replies with as many bytes as the host did, to measure uvicorn alone.

Settings: EMPTY_SIZES, JSON: the bytes of the replies by method and last part of the path, or by method.
"""

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

TYPE = (b"content-type", b"application/json; charset=utf-8")
BODIES = {key: b"x" * size for key, size in json.loads(os.environ["EMPTY_SIZES"]).items()}


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    method: str = scope["method"]
    body = BODIES.get(f"{method} {scope['path'].rpartition('/')[2]}") or BODIES.get(method, b"")
    headers = [TYPE, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
