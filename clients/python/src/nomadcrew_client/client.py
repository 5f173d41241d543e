"""The clients: one blocks, the other is for asyncio."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self, TypeVar

import httpx

from nomadcrew_client.async_operations import AsyncOperations
from nomadcrew_client.calls import Call
from nomadcrew_client.exchange import Answer, Refresh, Replied, Send, Session, Step, Tokens, Wait
from nomadcrew_client.models import Envelope
from nomadcrew_client.operations import Operations
from nomadcrew_client.sockets import follow, last_event_id

T = TypeVar("T")

_TIMEOUT_S = 30.0


class Client(Replied, Operations):
    """A client that blocks; threads may share it.

    A reply with tokens, as that of `login`, signs the client in. An expired access token is refreshed and the call
    repeated. `tokens` are the present ones, for a program to store.
    """

    def __init__(
        self,
        url: str,
        tokens: Tokens | None = None,
        *,
        timeout_s: float = _TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`url` is the server's address; `transport` replaces that of httpx."""
        self._session = Session(tokens)
        self._refreshing = threading.Lock()
        self._http = httpx.Client(base_url=url, timeout=timeout_s, transport=transport, follow_redirects=True)

    def close(self) -> None:
        self._http.close()

    def _send(self, call: Call[T]) -> T:
        steps = self._session.steps(call)
        answer: Answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                reply: T = end.value
                return reply
            answer = self._do(step)

    def _do(self, step: Step) -> Answer:
        match step:
            case Send(request):
                try:
                    return self._http.request(**request)
                except httpx.TransportError as failure:
                    return failure
            case Wait(seconds):
                time.sleep(seconds)
            case Refresh(expired):
                with self._refreshing:
                    call = self._session.refresh_call(expired)
                    if call is not None:
                        self._send(call)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(Replied, AsyncOperations):
    """A client for asyncio, with the methods of `Client` and the events of the socket."""

    def __init__(
        self,
        url: str,
        tokens: Tokens | None = None,
        *,
        sockets_url: str | None = None,
        timeout_s: float = _TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`url` is the server's address; `sockets_url` that of its sockets, if it is not `/v1/ws` below `url`."""
        self.sockets_url = sockets_url or url.rstrip("/").replace("http", "ws", 1) + "/v1/ws"
        self._session = Session(tokens)
        self._refreshing = asyncio.Lock()
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_s, transport=transport, follow_redirects=True)

    async def close(self) -> None:
        await self._http.aclose()

    def events(self, after: str | None = None) -> AsyncGenerator[Envelope, None]:
        """The events of the caller's trips: each once, over all losses of the connection.

        Args:
            after: the id of the last stored event that the program knows; None begins with the oldest stored one.

        Raises:
            Refused: the session ended; with status 410, `after` is too old and the program loads its data again.
        """
        return follow(self, after)

    async def last_event_id(self) -> str | None:
        """The id of the newest stored event, to follow only later ones; None if there is none."""
        return await last_event_id(self)

    async def _send(self, call: Call[T]) -> T:
        steps = self._session.steps(call)
        answer: Answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                reply: T = end.value
                return reply
            answer = await self._do(step)

    async def _do(self, step: Step) -> Answer:
        match step:
            case Send(request):
                try:
                    return await self._http.request(**request)
                except httpx.TransportError as failure:
                    return failure
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Refresh(expired):
                async with self._refreshing:
                    call = self._session.refresh_call(expired)
                    if call is not None:
                        await self._send(call)
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
