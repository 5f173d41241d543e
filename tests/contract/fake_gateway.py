"""A fake of API Gateway's management API for sockets, which records the sent frames."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote

from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.adapters.aws.sdk.services import SOCKETS

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-west-1"}
ERRORS = {410: "GoneException", 429: "LimitExceededException", 403: "ForbiddenException"}


@dataclass
class FakeGateway:
    """`statuses` holds error statuses by connection id; `busiest` is the largest number of concurrent requests."""

    url: str
    statuses: dict[str, int] = field(default_factory=dict)
    sent: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    requested: list[str] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                await self._answer(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = request.split()
        assert (method, path.rpartition("/")[0]) == ("POST", "/live/%40connections"), request
        assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=test/")
        connection_id = unquote(path.rpartition("/")[2])
        self.requested.append(connection_id)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        await asyncio.sleep(0.01)
        self.busy -= 1
        status = self.statuses.get(connection_id, 200)
        if status == 200:
            self.sent[connection_id].append(body.decode())
        text = b"" if status == 200 else json.dumps({"message": "no"}).encode()
        writer.write(
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-length: {len(text)}\r\n"
            f"x-amzn-errortype: {ERRORS.get(status, '')}\r\n\r\n".encode()
            + text
        )


@asynccontextmanager
async def gateway() -> AsyncIterator[tuple[FakeGateway, AwsClient]]:
    """A gateway with the stage `live`, and a client of it."""
    made = FakeGateway("")
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/live"
    client = AwsClient(SOCKETS, url=made.url, environment=KEYS)
    try:
        yield made, client
    finally:
        client.close()
        server.close()
        await server.wait_closed()
