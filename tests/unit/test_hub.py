"""The hub and the endpoint in front of it, with a clock and a server of their own: no sockets, no database."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from nomadcrew.core.errors import Unauthenticated, Unavailable
from nomadcrew.core.identity.claims import Claims
from nomadcrew.core.ids import SessionId, TripId, UserId, uuid7
from nomadcrew.host.asgi import Message
from nomadcrew.host.cors import Cors
from nomadcrew.host.hub import IDLE_S, QUEUE_FRAMES, TICK_S, Close, Hub, Socket
from nomadcrew.host.socket_endpoint import FRAMES_PER_S, SocketEndpoint
from nomadcrew.wire.events import PONG
from tests.fakes import ANA, BEN, NOON, TokenTable, fake_ports

SESSION = SessionId(uuid7())
TRIP = TripId(uuid7())
CLIENT_GIVES_UP_S = 60.0  # without a data frame, and then does not come back


def a_socket(user_id: UserId = ANA, *, lives_s: float = 900, session_id: SessionId = SESSION) -> Socket:
    return Socket(str(uuid7()), user_id, session_id, NOON + timedelta(seconds=lives_s), last_sent_s=0.0)


def queued(socket: Socket) -> list[str | Close]:
    return [socket.queue.get_nowait() for _ in range(socket.queue.qsize())]


def hub_of(*sockets: Socket) -> Hub:
    hub = Hub()
    for socket in sockets:
        hub.add(socket)
    return hub


def test_an_idle_socket_gets_a_data_frame_well_before_its_client_gives_up() -> None:
    socket = a_socket(lives_s=10_000)
    hub = hub_of(socket)
    gaps, sent_s = [], 0.0
    for second in range(0, 600, int(TICK_S)):
        hub.tick(now=NOON + timedelta(seconds=second), monotonic_s=second)
        if queued(socket) == [PONG]:
            gaps.append(second - sent_s)
            sent_s = socket.last_sent_s = float(second)
    assert len(gaps) >= 10
    assert max(gaps) <= IDLE_S + TICK_S < CLIENT_GIVES_UP_S * 3 / 4


def test_a_busy_socket_gets_no_keepalive() -> None:
    waiting, writing = a_socket(), a_socket()
    waiting.send("an event")
    writing.last_sent_s = 99.0
    hub_of(waiting, writing).tick(now=NOON, monotonic_s=100.0)
    assert queued(waiting) == ["an event"]
    assert queued(writing) == []


def test_a_socket_is_closed_when_its_token_expires_and_not_before() -> None:
    socket = a_socket(lives_s=900)
    hub = hub_of(socket)
    hub.tick(now=NOON + timedelta(seconds=899), monotonic_s=1.0)
    assert queued(socket) == []
    hub.tick(now=NOON + timedelta(seconds=900), monotonic_s=1.0)
    assert queued(socket) == [Close(4401, "token expired")]


def test_a_slow_reader_is_closed_with_a_code_it_comes_back_from_and_delays_nobody() -> None:
    slow, quick = a_socket(ANA), a_socket(BEN)
    hub = hub_of(slow, quick)
    heard: list[str | Close] = []
    for number in range(QUEUE_FRAMES + 50):
        hub.deliver(str(number), [ANA, BEN], None)
        heard += queued(quick)
    assert heard == [str(number) for number in range(QUEUE_FRAMES + 50)]
    assert queued(slow) == [Close(4008, "too slow")]
    assert slow.closing


def test_a_reader_that_just_keeps_up_misses_nothing() -> None:
    socket = a_socket()
    hub = hub_of(socket)
    for number in range(QUEUE_FRAMES):
        assert hub.deliver(str(number), [ANA], None) == 1
    assert queued(socket) == [str(number) for number in range(QUEUE_FRAMES)]


def test_a_socket_that_is_closed_gets_nothing_more() -> None:
    socket = a_socket()
    hub = hub_of(socket)
    socket.close(4401, "signed out")
    assert hub.deliver("an event", [ANA], None) == 0
    socket.close(1001, "server restarts")
    assert queued(socket) == [Close(4401, "signed out")]


def test_everybody_named_gets_a_frame_on_every_socket_and_nobody_else_does() -> None:
    sockets = [a_socket(ANA), a_socket(ANA), a_socket(BEN)]
    hub = hub_of(*sockets)
    assert hub.deliver("hers", [ANA], None) == 2
    assert [queued(socket) for socket in sockets] == [["hers"], ["hers"], []]
    assert hub.connected([BEN])
    hub.remove(sockets[2])
    assert not hub.connected([BEN])
    assert len(hub) == 2


def test_the_end_of_one_socket_leaves_the_persons_others_alone() -> None:
    first, second = a_socket(), a_socket()
    hub = hub_of(first, second)
    hub.remove(first)
    hub.remove(first)
    assert hub.deliver("hers", [ANA], None) == 1
    assert queued(second) == ["hers"]


async def test_a_trip_is_muted_on_one_socket_and_unmuted_there() -> None:
    muted, other = a_socket(), a_socket()
    hub = hub_of(muted, other)
    assert await hub.mute(muted.id, TRIP)
    assert not await hub.mute(muted.id, TRIP)
    assert not await hub.mute("nobody's", TRIP)
    assert hub.deliver("about the trip", [ANA], TRIP) == 1
    await hub.unmute(muted.id, TRIP)
    assert hub.deliver("about the trip", [ANA], TRIP) == 2


def test_the_end_of_a_session_closes_its_sockets_and_no_others() -> None:
    phone, tablet = a_socket(), a_socket(session_id=SessionId(uuid7()))
    hub_of(phone, tablet).end_session(SESSION)
    assert queued(phone) == [Close(4401, "signed out")]
    assert queued(tablet) == []


class NoTrips:
    """`Members` of somebody on no trip, or of nobody while the database is away."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure

    async def active(self, user_id: UserId) -> list[TripId]:
        if self._failure is not None:
            raise self._failure
        return []


class Line:
    """The server's side of one connection: what the client sends, and what it was sent."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Message] = asyncio.Queue()
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.on_accept: Callable[[], None] = lambda: None
        self.writable = asyncio.Event()
        self.writable.set()

    async def receive(self) -> Message:
        return await self.incoming.get()

    async def send(self, message: Message) -> None:
        await self.writable.wait()
        if message["type"] == "websocket.accept":
            self.on_accept()
        if message["type"] == "websocket.close":
            self.incoming.put_nowait({"type": "websocket.disconnect", "code": message["code"]})
        self.sent.put_nowait(message)

    def say(self, text: str) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "text": text})

    async def hears(self) -> Message:
        return await asyncio.wait_for(self.sent.get(), 10)

    async def frame(self) -> dict[str, Any]:
        message = await self.hears()
        return dict(json.loads(message["text"]))


@asynccontextmanager
async def connected(hub: Hub, line: Line, **ports: Any) -> AsyncIterator["asyncio.Task[None]"]:
    """A connection of ana's, served until the block ends."""
    endpoint = SocketEndpoint(
        fake_ports(connections=hub, **({"members": NoTrips()} | ports)), hub, Cors(), on_count=lambda _: None
    )
    scope = {"type": "websocket", "path": "/v1/ws", "query_string": b"token=ana", "headers": []}
    line.incoming.put_nowait({"type": "websocket.connect"})
    task = asyncio.create_task(_call(endpoint, scope, line))
    assert (await line.hears())["type"] == "websocket.accept"
    yield task
    line.incoming.put_nowait({"type": "websocket.disconnect", "code": 1005})
    await asyncio.wait_for(task, 10)
    assert len(hub) == 0


async def _call(endpoint: Callable[..., Awaitable[None]], scope: dict[str, Any], line: Line) -> None:
    await endpoint(scope, line.receive, line.send)


async def test_a_connection_is_greeted_answered_and_forgotten() -> None:
    hub, line = Hub(), Line()
    async with connected(hub, line):
        assert (await line.frame())["type"] == "connected"
        line.say('{"type":"ping"}')
        assert await line.frame() == {"type": "pong"}
        assert hub.deliver('{"type":"event"}', [ANA], None) == 1
        assert await line.frame() == {"type": "event"}


async def test_what_is_delivered_before_the_greeting_comes_after_it() -> None:
    hub, line = Hub(), Line()

    class Busy(NoTrips):
        async def active(self, user_id: UserId) -> list[TripId]:
            hub.deliver('{"type":"event"}', [ANA], None)
            return []

    async with connected(hub, line, members=Busy()):
        assert [(await line.frame())["type"] for _ in range(2)] == ["connected", "event"]


async def test_without_the_database_a_connection_is_asked_to_try_again() -> None:
    hub, line = Hub(), Line()
    async with connected(hub, line, members=NoTrips(Unavailable())):
        assert await line.hears() == {"type": "websocket.close", "code": 1013, "reason": "try again later"}


async def test_a_session_that_ends_while_its_socket_connects_takes_it_along() -> None:
    hub, line, ended = Hub(), Line(), list[SessionId]()

    class Tokens(TokenTable):
        async def verify(self, token: str, *, now: Any) -> Claims:
            if ended:
                raise Unauthenticated
            return Claims(ANA, NOON + timedelta(hours=1), session_id=SESSION)

    def sign_out() -> None:
        ended.append(SESSION)
        hub.end_session(SESSION)

    line.on_accept = sign_out
    async with connected(hub, line, verifier=Tokens()):
        assert (await line.hears())["code"] == 4401


async def test_a_client_that_stops_reading_is_told_why_it_was_closed_when_it_reads_again() -> None:
    hub, line = Hub(), Line()
    async with connected(hub, line) as task:
        await line.frame()
        line.writable.clear()
        while hub.deliver('{"type":"event"}', [ANA], None):
            await asyncio.sleep(0)
        line.writable.set()
        message = await line.hears()
        while message["type"] == "websocket.send":
            message = await line.hears()
        assert (message["type"], message["code"]) == ("websocket.close", 4008)
        await asyncio.wait_for(asyncio.shield(task), 10)


async def test_frames_beyond_the_rate_are_dropped_and_the_connection_stays() -> None:
    hub, line = Hub(), Line()
    async with connected(hub, line):
        await line.frame()
        for _ in range(200):
            line.say('{"type":"ping"}')
        while not line.incoming.empty():
            await asyncio.sleep(0)
        hub.deliver('{"type":"event"}', [ANA], None)
        answers = 0
        while await line.frame() == {"type": "pong"}:
            answers += 1
        assert FRAMES_PER_S - 1 <= answers < 100


@pytest.mark.parametrize("code", [1001, 4401])
async def test_a_close_from_here_goes_out_and_ends_the_connection(code: int) -> None:
    hub, line = Hub(), Line()
    async with connected(hub, line) as task:
        await line.frame()
        hub.close_all(code, "because")
        assert await line.hears() == {"type": "websocket.close", "code": code, "reason": "because"}
        await asyncio.wait_for(asyncio.shield(task), 10)
