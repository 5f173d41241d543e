"""The server's side of WebSockets over a Unix socket: closes, and readers that stop reading."""

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed

from nomadcrew.core.ids import TripId, UserId
from nomadcrew.hosts.machine.http.connections import Connections
from nomadcrew.hosts.machine.http.cors import Cors
from nomadcrew.hosts.machine.http.exchange import Exchange
from nomadcrew.hosts.machine.sockets import protocol as websocket
from nomadcrew.hosts.machine.sockets.endpoint import SocketEndpoint
from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.hosts.machine.uvicorn_server import uvicorn_config
from nomadcrew.web.call import Reply
from nomadcrew.wire.events import frame
from tests.fakes import ANA, BEN, fake_ports

ADDRESS = "ws://host/v1/ws?token="


class NoTrips:
    async def list_active_trips(self, user_id: UserId) -> list[TripId]:
        return []


async def no_page(exchange: Exchange) -> Reply:
    return Reply(404)


@asynccontextmanager
async def run_endpoint(hub: Hub) -> AsyncIterator[str]:
    """Run the endpoint behind uvicorn; yields the path of its socket."""
    endpoint = SocketEndpoint(fake_ports(connections=hub, members=NoTrips()), hub, Cors(), on_count=lambda _: None)
    connections = Connections(total=100, per_address=100)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        config = uvicorn_config(no_page, endpoint, connections, uds=path)
        server = uvicorn.Server(config)
        server.capture_signals = asynccontextmanager  # type: ignore[assignment,method-assign]
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        yield path
        server.should_exit = True
        await asyncio.wait_for(serving, 20)


async def connected(path: str, token: str) -> ClientConnection:
    client = await unix_connect(path, ADDRESS + token, compression=None, ping_interval=None, close_timeout=1)
    assert json.loads(await client.recv())["type"] == "connected"
    return client


async def connect_and_stop_reading(path: str, token: str) -> socket.socket:
    """A client that stops reading after the greeting."""
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, path)
    upgrade = (
        f"GET /v1/ws?token={token} HTTP/1.1\r\nHost: host\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(connection, upgrade.encode())
    read = b""
    while b"connected" not in read:
        read += await loop.sock_recv(connection, 4096)
    return connection


async def read_rest(connection: socket.socket, end: bytes = b"") -> bytes:
    """Read until `end` or the end of the connection, and close it."""
    loop, read = asyncio.get_running_loop(), bytearray()
    try:
        async with asyncio.timeout(10):
            while not (end and read.endswith(end)) and (part := await loop.sock_recv(connection, 1 << 20)):
                read += part
    finally:
        connection.close()
    return bytes(read)


async def test_every_client_gets_the_event_and_the_chosen_close_code() -> None:
    hub = Hub()
    async with run_endpoint(hub) as path:
        clients = [await connected(path, token) for token in ("ana", "ana", "ben")]
        event = frame("event", {"text": "x" * 70_000})
        assert hub.deliver(event, [ANA, BEN], None) == 3
        assert [await client.recv() for client in clients] == [event] * 3
        hub.close_some(3, 1012, "server restarts")
        for client in clients:
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (client.close_code, client.close_reason) == (1012, "server restarts")


async def test_a_client_that_does_not_read_is_closed_and_delays_no_other() -> None:
    hub = Hub()
    async with run_endpoint(hub) as path:
        slow, quick = await connect_and_stop_reading(path, "ben"), await connected(path, "ana")
        event = frame("event", {"text": "x" * 4_000})
        sent = 0
        async with asyncio.timeout(20):
            while hub.connected([BEN]):
                hub.deliver(event, [ANA, BEN], None)
                sent += 1
                assert await quick.recv() == event
        assert 10 < sent < 500
        assert len(hub) == 1
        # The unread data is still delivered, followed by the close with 4008.
        reason = b"\x0f\xa8too slow"
        assert (await read_rest(slow, reason)).endswith(reason)
        assert hub.deliver(event, [ANA], None) == 1
        assert await quick.recv() == event
        await quick.close()


async def test_a_client_that_never_reads_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "LEAVE_S", 0.2)
    hub = Hub()
    async with run_endpoint(hub) as path:
        slow = await connect_and_stop_reading(path, "ben")
        event = frame("event", {"text": "x" * 4_000})
        async with asyncio.timeout(20):
            while hub.connected([BEN]):
                hub.deliver(event, [BEN], None)
                await asyncio.sleep(0)
        await asyncio.sleep(0.4)
        assert not (await read_rest(slow)).endswith(b"too slow")


async def test_a_text_that_is_not_utf8_closes_its_socket_without_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with run_endpoint(Hub()) as path:
        broken, whole = await connected(path, "ana"), await connected(path, "ben")
        await broken.send(b'{"type": "\xff"}', text=True)
        with pytest.raises(ConnectionClosed):
            await broken.recv()
        assert broken.close_code == 1007
        await whole.send(["{", '"type": "ping"', "}"])
        assert json.loads(await whole.recv()) == {"type": "pong"}
        await whole.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
