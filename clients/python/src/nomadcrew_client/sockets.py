"""Events over the socket, without gap and without repeat."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from nomadcrew_client.calls import Refused, backoff_s
from nomadcrew_client.exchange import Tokens
from nomadcrew_client.models import Envelope, EventPageView

_PAGE = 200
_QUIET_S = 30.0  # without a frame: before the ping, and again before the connection counts as lost
_CLOSE_S = 2.0
_LONGEST_PAUSE_S = 30.0
_MAX_KNOWN = 10_000
_BAD_TOKEN = 4401


class Caller(Protocol):
    """The part of a client that the events need."""

    @property
    def sockets_url(self) -> str: ...

    @property
    def tokens(self) -> Tokens | None: ...

    async def list_events(self, *, after: str | None = None, limit: int | None = None) -> EventPageView: ...


class _Inbox:
    """The last stored event, after which to catch up, the ids of the latest events, and failures in a row."""

    def __init__(self, after: str | None) -> None:
        self.after = after
        self.failures = 0
        self._known: OrderedDict[str, None] = OrderedDict()

    def take(self, event: Envelope) -> bool:
        """True for an event that was not taken before."""
        if event.kept is not False:
            self.after = event.id
        is_new = event.id not in self._known
        self._known[event.id] = None
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return is_new


async def last_event_id(caller: Caller) -> str | None:
    """See `AsyncClient.last_event_id`."""
    last = None
    async for event in _stored(caller, None):
        last = event.id
    return last


async def follow(caller: Caller, after: str | None) -> AsyncGenerator[Envelope, None]:
    """See `AsyncClient.events`."""
    inbox = _Inbox(after)
    is_token_doubtful = False
    while True:
        try:
            if is_token_doubtful:
                await caller.list_events(limit=1)  # refreshes an expired token
                is_token_doubtful = False
            async with await _connected(caller) as socket, aclosing(_events(caller, socket, inbox)) as events:
                async for event in events:
                    yield event
        except Refused as refusal:
            if not refusal.is_passing:
                raise
        except (WebSocketException, OSError, TimeoutError, httpx.TransportError) as failure:
            is_token_doubtful = _doubts_token(failure)
        inbox.failures += 1
        await asyncio.sleep(backoff_s(inbox.failures, _LONGEST_PAUSE_S))


async def _events(caller: Caller, socket: ClientConnection, inbox: _Inbox) -> AsyncGenerator[Envelope, None]:
    """The events of one connection, after those that were missed before it."""
    is_greeted = False
    async for frame in _frames(socket):
        if frame["type"] == "connected":
            is_greeted, inbox.failures = True, 0
            async for event in _stored(caller, inbox.after):
                if inbox.take(event):
                    yield event
        elif frame["type"] == "event":
            event = msgspec.convert(frame["payload"], Envelope)
            # A stored event before the greeting follows from the catching up, in its order.
            if (is_greeted or event.kept is False) and inbox.take(event):
                yield event


async def _stored(caller: Caller, after: str | None) -> AsyncIterator[Envelope]:
    """The stored events after one of them, page by page."""
    has_more = True
    while has_more:
        page = await caller.list_events(after=after, limit=_PAGE)
        for event in page.events:
            yield event
        after, has_more = page.next, page.has_more


async def _connected(caller: Caller) -> ClientConnection:
    tokens = caller.tokens
    offered = ["nomadcrew.v1", tokens.access_token if tokens else ""]
    return await connect(
        caller.sockets_url,
        subprotocols=[Subprotocol(name) for name in offered],
        ping_interval=None,
        close_timeout=_CLOSE_S,
    )


async def _frames(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    """The frames until the connection is lost.

    Raises:
        ConnectionClosed: it was closed.
        TimeoutError: nothing arrived, not even the reply to a ping.
    """
    is_pinged = False
    while True:
        try:
            async with asyncio.timeout(_QUIET_S):
                text = await socket.recv()
        except TimeoutError:
            if is_pinged:
                raise
            is_pinged = True
            await socket.send('{"type": "ping"}')
            continue
        is_pinged = False
        yield json.loads(text)


def _doubts_token(failure: Exception) -> bool:
    if isinstance(failure, ConnectionClosed):
        return failure.rcvd is not None and failure.rcvd.code == _BAD_TOKEN
    return isinstance(failure, InvalidStatus)
