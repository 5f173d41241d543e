"""The hub and the endpoint in front of it, with a clock and a server of their own: no sockets, no database."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import Unauthenticated, Unavailable
from nomadcrew.core.ids import SessionId, TripId, UserId, uuid7
from nomadcrew.hosts.machine.http.asgi import Message
from nomadcrew.hosts.machine.http.cors import Cors
from nomadcrew.hosts.machine.sockets.drain import drain_sockets
from nomadcrew.hosts.machine.sockets.endpoint import FRAMES_PER_S, SocketEndpoint
from nomadcrew.hosts.machine.sockets.hub import IDLE_S, MAX_HELD, TICK_S, TICKS_A_ROUND, Hub
from nomadcrew.hosts.machine.sockets.protocol import OUTLET, text_frame
from nomadcrew.wire.events import PONG
from tests.fakes import ANA, BEN, NOON, TokenTable, fake_ports
from tests.sockets import SESSION, Close, Kept, Seat

TRIP = TripId(uuid7())
CLEO, DAN = UserId(uuid7()), UserId(uuid7())
CLIENT_GIVES_UP_S = 60.0  # without a data frame, and then does not come back


def hub_of(*seats: Seat) -> Hub:
    hub = Hub()
    for seat in seats:
        hub.add(seat.socket)
    return hub


def a_round(hub: Hub, *, at_s: float = 0.0, monotonic_s: float = 0.0) -> None:
    """One look at every socket."""
    for _ in range(TICKS_A_ROUND):
        hub.tick(now=NOON + timedelta(seconds=at_s), monotonic_s=monotonic_s)


def test_an_idle_socket_gets_a_data_frame_well_before_its_client_gives_up() -> None:
    seats = [Seat(lives_s=10_000) for _ in range(50)]
    hub = hub_of(*seats)
    sent_s, gaps = dict.fromkeys(range(50), 0.0), list[float]()
    for tick in range(int(600 / TICK_S)):
        second = tick * TICK_S
        hub.tick(now=NOON + timedelta(seconds=second), monotonic_s=second)
        for number, seat in enumerate(seats):
            if seat.heard() == [PONG]:
                gaps.append(second - sent_s[number])
                sent_s[number] = second
    assert len(gaps) >= 50 * 15
    assert min(gaps) >= IDLE_S[0]
    assert max(gaps) <= IDLE_S[1] + TICK_S * TICKS_A_ROUND < CLIENT_GIVES_UP_S * 3 / 4


def test_idle_sockets_are_not_all_written_to_in_one_moment() -> None:
    seats = [Seat(lives_s=10_000) for _ in range(1_000)]
    hub = hub_of(*seats)
    most = 0
    for second in range(120):
        hub.tick(now=NOON, monotonic_s=float(second))
        most = max(most, sum(len(seat.heard()) for seat in seats))
    assert 0 < most < 250


def test_a_busy_socket_gets_no_keepalive() -> None:
    seat = Seat()
    hub = hub_of(seat)
    seat.socket.write(text_frame("an event"), now_s=99.0)
    a_round(hub, monotonic_s=100.0)
    assert seat.heard() == ["an event"]


def test_a_socket_is_closed_when_its_token_expires_and_not_before() -> None:
    seat = Seat(lives_s=900)
    hub = hub_of(seat)
    a_round(hub, at_s=899)
    assert seat.heard() == []
    a_round(hub, at_s=900)
    assert seat.heard() == [Close(4401, "token expired")]


def test_a_slow_reader_is_closed_with_a_code_it_comes_back_from_and_delays_nobody() -> None:
    slow, quick = Seat(ANA), Seat(BEN)
    hub = hub_of(slow, quick)
    assert hub.deliver("one", [ANA, BEN], None) == 2
    slow.outlet.on_slow()
    assert hub.deliver("two", [ANA, BEN], None) == 1
    assert slow.heard() == ["one", Close(4008, "too slow")]
    assert quick.heard() == ["one", "two"]


def test_what_comes_before_the_greeting_waits_for_it_and_is_bounded() -> None:
    seat, flooded = Seat(greeted=False), Seat(greeted=False)
    hub = hub_of(seat)
    assert hub.deliver("early", [ANA], None) == 1
    assert seat.heard() == []
    seat.socket.greet("hello", now_s=1.0)
    assert seat.heard() == ["hello", "early"]
    for _ in range(MAX_HELD):
        assert flooded.socket.send("early")
    assert not flooded.socket.send("one too many")
    assert flooded.heard() == [Close(4008, "too slow")]


def test_a_socket_that_is_closed_gets_nothing_more() -> None:
    seat = Seat()
    hub = hub_of(seat)
    seat.socket.close(4401, "signed out")
    assert hub.deliver("an event", [ANA], None) == 0
    seat.socket.close(1012, "server restarts")
    assert seat.heard() == [Close(4401, "signed out")]


def test_everybody_named_gets_a_frame_on_every_socket_and_nobody_else_does() -> None:
    seats = [Seat(ANA), Seat(ANA), Seat(BEN)]
    hub = hub_of(*seats)
    assert hub.deliver("hers", [ANA], None) == 2
    assert [seat.heard() for seat in seats] == [["hers"], ["hers"], []]
    assert hub.connected([BEN])
    hub.remove(seats[2].socket)
    assert not hub.connected([BEN])
    assert len(hub) == 2


def test_the_first_socket_of_a_person_and_the_end_of_the_last_are_told() -> None:
    told: list[tuple[UserId, bool]] = []
    hub = Hub()
    hub.on_person = lambda user_id, here: told.append((user_id, here))
    first, second = Seat(ANA), Seat(ANA)
    hub.add(first.socket)
    hub.add(second.socket)
    hub.remove(first.socket)
    assert told == [(ANA, True)]
    hub.remove(second.socket)
    hub.remove(second.socket)
    assert told == [(ANA, True), (ANA, False)]


def test_the_end_of_one_socket_leaves_the_persons_others_alone() -> None:
    first, second = Seat(), Seat()
    hub = hub_of(first, second)
    hub.remove(first.socket)
    hub.remove(first.socket)
    assert hub.deliver("hers", [ANA], None) == 1
    assert second.heard() == ["hers"]


async def test_a_trip_is_muted_on_one_socket_and_unmuted_there() -> None:
    muted, other = Seat(), Seat()
    hub = hub_of(muted, other)
    assert await hub.mute(muted.socket.id, TRIP)
    assert not await hub.mute(muted.socket.id, TRIP)
    assert not await hub.mute("nobody's", TRIP)
    assert hub.deliver("about the trip", [ANA], TRIP) == 1
    await hub.unmute(muted.socket.id, TRIP)
    assert hub.deliver("about the trip", [ANA], TRIP) == 2


async def test_who_was_sent_a_position_is_told_once_each_and_nobody_else_is() -> None:
    told: list[tuple[TripId, UserId, set[UserId]]] = []
    seats = muted, closed, *_ = [Seat(BEN), Seat(CLEO), Seat(ANA), Seat(DAN), Seat(DAN)]
    hub = hub_of(*seats)
    hub.on_shown = lambda trip_id, owner, viewers: told.append((trip_id, owner, set(viewers)))
    await hub.mute(muted.socket.id, TRIP)
    closed.socket.close(4401, "signed out")
    everybody = [ANA, BEN, CLEO, DAN, UserId(uuid7())]
    assert hub.deliver("no position", everybody, TRIP) == 3
    assert hub.deliver("to nobody there", [BEN, CLEO], TRIP, ANA) == 0
    assert told == []
    assert hub.deliver("a position", everybody, TRIP, ANA) == 3
    assert told == [(TRIP, ANA, {ANA, DAN})]


def test_the_end_of_a_session_closes_its_sockets_and_no_others() -> None:
    phone, tablet = Seat(), Seat(session_id=SessionId(uuid7()))
    hub_of(phone, tablet).end_session(SESSION)
    assert phone.heard() == [Close(4401, "signed out")]
    assert tablet.heard() == []


async def test_before_a_restart_sockets_are_sent_away_one_after_the_other() -> None:
    seats = [Seat() for _ in range(200)]
    hub = hub_of(*seats)
    leaving = asyncio.create_task(drain_sockets(hub, longest_s=0.4))
    gone: list[int] = []
    while not gone or gone[-1] < len(seats):
        await asyncio.sleep(0.02)
        gone.append(sum(seat.socket.closing for seat in seats))
    late = Seat()
    hub.add(late.socket)
    while not late.socket.closing:
        await asyncio.sleep(0.02)
    leaving.cancel()
    steps = {after - before for before, after in zip([0, *gone], gone, strict=False)}
    assert max(steps) <= len(seats) / 3
    assert {item for seat in [*seats, late] for item in seat.heard()} == {Close(1012, "server restarts")}


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536, 100_000])
def test_a_frame_is_what_the_library_makes_of_it(length: int) -> None:
    text = "é" + "x" * (length - 2) if length >= 2 else "x" * length
    assert text_frame(text) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class NoTrips:
    """`Members` of somebody on no trip, or of nobody while the database is away."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure

    async def list_active_trips(self, user_id: UserId) -> list[TripId]:
        if self._failure is not None:
            raise self._failure
        return []


class Line:
    """The server's side of one connection: what the client sends, and what it was sent."""

    def __init__(self) -> None:
        self.outlet = Kept(on_close=self._closed)
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.on_accept: Callable[[], None] = lambda: None
        self.accepted = asyncio.Event()

    async def receive(self) -> Message:
        return await self.incoming.get()

    async def send(self, message: Message) -> None:
        assert message["type"] == "websocket.accept"
        self.on_accept()
        self.accepted.set()

    def _closed(self, code: int) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": code})

    def say(self, text: str) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "text": text})

    async def hears(self) -> str | Close:
        async with asyncio.timeout(10):
            while not self.outlet.sent:
                await asyncio.sleep(0)
        return self.outlet.sent.pop(0)

    async def frame(self) -> dict[str, Any]:
        text = await self.hears()
        assert isinstance(text, str)
        return dict(json.loads(text))


@asynccontextmanager
async def connected(hub: Hub, line: Line, **ports: Any) -> AsyncIterator["asyncio.Task[None]"]:
    """A connection of ana's, served until the block ends."""
    endpoint = SocketEndpoint(
        fake_ports(connections=hub, **({"members": NoTrips()} | ports)), hub, Cors(), on_count=lambda _: None
    )
    scope = {
        "type": "websocket",
        "path": "/v1/ws",
        "query_string": b"token=ana",
        "headers": [],
        "extensions": {OUTLET: line.outlet},
    }
    line.incoming.put_nowait({"type": "websocket.connect"})
    task = asyncio.create_task(_call(endpoint, scope, line))
    await asyncio.wait_for(line.accepted.wait(), 10)
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
        async def list_active_trips(self, user_id: UserId) -> list[TripId]:
            hub.deliver('{"type":"event"}', [ANA], None)
            return []

    async with connected(hub, line, members=Busy()):
        assert [(await line.frame())["type"] for _ in range(2)] == ["connected", "event"]


async def test_without_the_database_a_connection_is_asked_to_try_again() -> None:
    hub, line = Hub(), Line()
    async with connected(hub, line, members=NoTrips(Unavailable())):
        assert await line.hears() == Close(1013, "try again later")


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
        closed = await line.hears()
        assert isinstance(closed, Close)
        assert closed.code == 4401


async def test_a_client_that_stops_reading_is_closed() -> None:
    hub, line = Hub(), Line()
    async with connected(hub, line) as task:
        await line.frame()
        line.outlet.on_slow()
        assert await line.hears() == Close(4008, "too slow")
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


@pytest.mark.parametrize("code", [1012, 4401])
async def test_a_close_from_here_goes_out_and_ends_the_connection(code: int) -> None:
    hub, line = Hub(), Line()
    async with connected(hub, line) as task:
        await line.frame()
        hub.close_some(1, code, "because")
        assert await line.hears() == Close(code, "because")
        await asyncio.wait_for(asyncio.shield(task), 10)
