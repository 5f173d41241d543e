"""A link to a server that loses connections and replies, as the network of a phone does."""

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_CHUNK_BYTES = 65_536


class LossyLink:
    """Passes bytes between clients and one server. `url` is its address.

    The reply to the first request with the text `lose_reply_to` is lost, after the server did what it asks for.
    `lost` counts such replies.
    """

    def __init__(self, server_url: str, *, lose_reply_to: str) -> None:
        self.url = ""
        self.lost = 0
        self._server = urlsplit(server_url)
        self._lose_reply_to = lose_reply_to.encode()
        self._is_up = True
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Drop all connections without a close frame, and new ones until `restore`."""
        self._is_up = False
        for writer in self._writers:
            writer.transport.abort()

    def restore(self) -> None:
        self._is_up = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_up:
            writer.transport.abort()
            return
        connection = _Connection(reader, writer, *await asyncio.open_connection(*self._address))
        self._writers |= connection.writers
        try:
            await asyncio.gather(connection.up(self), connection.down(self))
        finally:
            self._writers -= connection.writers

    @property
    def _address(self) -> tuple[str, int]:
        assert self._server.hostname is not None
        assert self._server.port is not None
        return self._server.hostname, self._server.port

    def loses_reply_to(self, request: bytes) -> bool:
        return self.lost == 0 and self._lose_reply_to in request

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        self.cut()
        await self._listener.wait_closed()


class _Connection:
    """A client's connection and the one to the server. It ends in both directions as soon as it ends in one."""

    def __init__(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._is_reply_lost = False

    @property
    def writers(self) -> set[asyncio.StreamWriter]:
        return {self._to_client, self._to_server}

    async def up(self, link: LossyLink) -> None:
        while data := await _read(self._client):
            self._is_reply_lost = self._is_reply_lost or link.loses_reply_to(data)
            self._to_server.write(data)
        self._abort()

    async def down(self, link: LossyLink) -> None:
        while data := await _read(self._server):
            if self._is_reply_lost:
                link.lost += 1
                break
            self._to_client.write(data)
        self._abort()

    def _abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """The next bytes, none at the end of the connection."""
    try:
        return await reader.read(_CHUNK_BYTES)
    except ConnectionError:
        return b""
