"""The hub and its endpoint, with a fake clock and server, without sockets or database."""

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
from nomadcrew.hosts.machine.http.cors import Cors
from nomadcrew.hosts.machine.sockets.drain import drain_sockets
from nomadcrew.hosts.machine.sockets.endpoint import FRAMES_PER_S, Message, SocketEndpoint
from nomadcrew.hosts.machine.sockets.hub import IDLE_S, MAX_HELD, TICK_S, TICKS_A_ROUND, Hub
from nomadcrew.hosts.machine.sockets.protocol import OUTLET, text_frame
from nomadcrew.wire.events import PONG
from tests.fake_sockets import SESSION, Close, FakeSocket, RecordingOutlet
from tests.fakes import ANA, BEN, NOON, FakeTokens, fake_ports

TRIP = TripId(uuid7())
CLEO, DAN = UserId(uuid7()), UserId(uuid7())
CLIENT_GIVES_UP_S = 60.0  # the shipped app gives up permanently after this time without a data frame


def hub_of(*sockets: FakeSocket) -> Hub:
    hub = Hub(per_user=10_000)
    for fake in sockets:
        hub.add(fake.socket)
    return hub


def a_round(hub: Hub, *, at_s: float = 0.0, monotonic_s: float = 0.0) -> None:
    """One check of every socket."""
    for _ in range(TICKS_A_ROUND):
        hub.tick(now=NOON + timedelta(seconds=at_s), monotonic_s=monotonic_s)


def test_an_idle_socket_gets_a_data_frame_before_its_client_gives_up() -> None:
    sockets = [FakeSocket(lives_s=10_000) for _ in range(50)]
    hub = hub_of(*sockets)
    sent_s, gaps = dict.fromkeys(range(50), 0.0), list[float]()
    for tick in range(int(600 / TICK_S)):
        second = tick * TICK_S
        hub.tick(now=NOON + timedelta(seconds=second), monotonic_s=second)
        for number, fake in enumerate(sockets):
            if fake.received() == [PONG]:
                gaps.append(second - sent_s[number])
                sent_s[number] = second
    assert len(gaps) >= 50 * 15
    assert min(gaps) >= IDLE_S[0]
    assert max(gaps) <= IDLE_S[1] + TICK_S * TICKS_A_ROUND < CLIENT_GIVES_UP_S * 3 / 4


def test_keepalive_frames_are_spread_over_time() -> None:
    sockets = [FakeSocket(lives_s=10_000) for _ in range(1_000)]
    hub = hub_of(*sockets)
    largest = 0
    for second in range(120):
        hub.tick(now=NOON, monotonic_s=float(second))
        largest = max(largest, sum(len(fake.received()) for fake in sockets))
    assert 0 < largest < 250


def test_a_busy_socket_gets_no_keepalive() -> None:
    fake = FakeSocket()
    hub = hub_of(fake)
    fake.socket.write(text_frame("an event"), now_s=99.0)
    a_round(hub, monotonic_s=100.0)
    assert fake.received() == ["an event"]


def test_a_socket_is_closed_when_its_token_expires() -> None:
    fake = FakeSocket(lives_s=900)
    hub = hub_of(fake)
    a_round(hub, at_s=899)
    assert fake.received() == []
    a_round(hub, at_s=900)
    assert fake.received() == [Close(4401, "token expired")]


def test_a_slow_reader_is_closed_with_a_retryable_code_and_delays_no_other() -> None:
    slow, quick = FakeSocket(ANA), FakeSocket(BEN)
    hub = hub_of(slow, quick)
    assert hub.deliver("one", [ANA, BEN], None) == 2
    slow.outlet.on_slow()
    assert hub.deliver("two", [ANA, BEN], None) == 1
    assert slow.received() == ["one", Close(4008, "too slow")]
    assert quick.received() == ["one", "two"]


def test_frames_before_the_greeting_wait_for_it_and_are_bounded() -> None:
    fake, flooded = FakeSocket(greeted=False), FakeSocket(greeted=False)
    hub = hub_of(fake)
    assert hub.deliver("early", [ANA], None) == 1
    assert fake.received() == []
    fake.socket.greet("hello", now_s=1.0)
    assert fake.received() == ["hello", "early"]
    for _ in range(MAX_HELD):
        assert flooded.socket.send("early")
    assert not flooded.socket.send("one too many")
    assert flooded.received() == [Close(4008, "too slow")]


def test_a_closed_socket_receives_nothing() -> None:
    fake = FakeSocket()
    hub = hub_of(fake)
    fake.socket.close(4401, "signed out")
    assert hub.deliver("an event", [ANA], None) == 0
    fake.socket.close(1012, "server restarts")
    assert fake.received() == [Close(4401, "signed out")]


def test_a_frame_reaches_every_socket_of_the_addressed_users_only() -> None:
    sockets = [FakeSocket(ANA), FakeSocket(ANA), FakeSocket(BEN)]
    hub = hub_of(*sockets)
    assert hub.deliver("hers", [ANA], None) == 2
    assert [fake.received() for fake in sockets] == [["hers"], ["hers"], []]
    assert hub.connected([BEN])
    hub.remove(sockets[2].socket)
    assert not hub.connected([BEN])
    assert len(hub) == 2


def test_the_first_and_the_last_socket_of_a_user_are_reported() -> None:
    reported: list[tuple[UserId, bool]] = []
    hub = Hub()
    hub.on_person = lambda user_id, here: reported.append((user_id, here))
    first, second = FakeSocket(ANA), FakeSocket(ANA)
    hub.add(first.socket)
    hub.add(second.socket)
    hub.remove(first.socket)
    assert reported == [(ANA, True)]
    hub.remove(second.socket)
    hub.remove(second.socket)
    assert reported == [(ANA, True), (ANA, False)]


def test_the_end_of_one_socket_leaves_the_users_others() -> None:
    first, second = FakeSocket(), FakeSocket()
    hub = hub_of(first, second)
    hub.remove(first.socket)
    hub.remove(first.socket)
    assert hub.deliver("hers", [ANA], None) == 1
    assert second.received() == ["hers"]


async def test_a_trip_is_muted_and_unmuted_on_one_socket() -> None:
    muted, other = FakeSocket(), FakeSocket()
    hub = hub_of(muted, other)
    assert await hub.mute(muted.socket.id, TRIP)
    assert not await hub.mute(muted.socket.id, TRIP)
    assert not await hub.mute("unknown", TRIP)
    assert hub.deliver("about the trip", [ANA], TRIP) == 1
    await hub.unmute(muted.socket.id, TRIP)
    assert hub.deliver("about the trip", [ANA], TRIP) == 2


async def test_receivers_of_a_position_are_reported_once_each() -> None:
    reported: list[tuple[TripId, UserId, set[UserId]]] = []
    sockets = muted, closed, *_ = [
        FakeSocket(BEN),
        FakeSocket(CLEO),
        FakeSocket(ANA),
        FakeSocket(DAN),
        FakeSocket(DAN),
    ]
    hub = hub_of(*sockets)
    hub.on_shown = lambda trip_id, owner, viewers: reported.append((trip_id, owner, set(viewers)))
    await hub.mute(muted.socket.id, TRIP)
    closed.socket.close(4401, "signed out")
    user_ids = [ANA, BEN, CLEO, DAN, UserId(uuid7())]
    assert hub.deliver("no position", user_ids, TRIP) == 3
    assert hub.deliver("not received", [BEN, CLEO], TRIP, ANA) == 0
    assert reported == []
    assert hub.deliver("a position", user_ids, TRIP, ANA) == 3
    assert reported == [(TRIP, ANA, {ANA, DAN})]


def test_the_end_of_a_session_closes_its_sockets_only() -> None:
    phone, tablet = FakeSocket(), FakeSocket(session_id=SessionId(uuid7()))
    hub_of(phone, tablet).end_session(SESSION)
    assert phone.received() == [Close(4401, "signed out")]
    assert tablet.received() == []


async def test_before_a_restart_sockets_are_closed_gradually() -> None:
    sockets = [FakeSocket() for _ in range(200)]
    hub = hub_of(*sockets)
    leaving = asyncio.create_task(drain_sockets(hub, longest_s=0.4))
    closed_counts: list[int] = []
    while not closed_counts or closed_counts[-1] < len(sockets):
        await asyncio.sleep(0.02)
        closed_counts.append(sum(fake.socket.closing for fake in sockets))
    late = FakeSocket()
    hub.add(late.socket)
    while not late.socket.closing:
        await asyncio.sleep(0.02)
    leaving.cancel()
    steps = {after - before for before, after in zip([0, *closed_counts], closed_counts, strict=False)}
    assert max(steps) <= len(sockets) / 3
    assert {item for fake in [*sockets, late] for item in fake.received()} == {Close(1012, "server restarts")}


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536, 100_000])
def test_a_text_frame_equals_that_of_the_library(length: int) -> None:
    text = "é" + "x" * (length - 2) if length >= 2 else "x" * length
    assert text_frame(text) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class NoTrips:
    """`Members` of a user without trips; `failure` simulates an outage."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure

    async def list_active_trips(self, user_id: UserId) -> list[TripId]:
        if self._failure is not None:
            raise self._failure
        return []


class Connection:
    """The server's side of one connection: frames of the client, and frames sent to it."""

    def __init__(self) -> None:
        self.outlet = RecordingOutlet(on_close=self._closed)
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

    def client_sends(self, text: str) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "text": text})

    async def receive_sent(self) -> str | Close:
        async with asyncio.timeout(10):
            while not self.outlet.sent:
                await asyncio.sleep(0)
        return self.outlet.sent.pop(0)

    async def frame(self) -> dict[str, Any]:
        text = await self.receive_sent()
        assert isinstance(text, str)
        return dict(json.loads(text))


@asynccontextmanager
async def connected(hub: Hub, connection: Connection, **ports: Any) -> AsyncIterator["asyncio.Task[None]"]:
    """A connection of ana's, served during the block."""
    endpoint = SocketEndpoint(
        fake_ports(connections=hub, **({"members": NoTrips()} | ports)), hub, Cors(), on_count=lambda _: None
    )
    scope = {
        "type": "websocket",
        "path": "/v1/ws",
        "query_string": b"token=ana",
        "headers": [],
        "extensions": {OUTLET: connection.outlet},
    }
    connection.incoming.put_nowait({"type": "websocket.connect"})
    task = asyncio.create_task(_call(endpoint, scope, connection))
    await asyncio.wait_for(connection.accepted.wait(), 10)
    yield task
    connection.incoming.put_nowait({"type": "websocket.disconnect", "code": 1005})
    await asyncio.wait_for(task, 10)
    assert len(hub) == 0


async def _call(endpoint: Callable[..., Awaitable[None]], scope: dict[str, Any], connection: Connection) -> None:
    await endpoint(scope, connection.receive, connection.send)


def test_a_user_who_opens_too_many_sockets_loses_the_oldest() -> None:
    hub = Hub(per_user=3)
    mine, bens = [FakeSocket() for _ in range(3)], FakeSocket(BEN)
    for each in (bens, *mine):
        hub.add(each.socket)
    assert [each.received() for each in (bens, *mine)] == [[]] * 4
    newer = [FakeSocket() for _ in range(2)]
    for each in newer:
        hub.add(each.socket)
    close = Close(1008, "too many sockets")
    assert [each.received() for each in (bens, *mine, *newer)] == [[], [close], [close], [], [], []]
    hub.remove(mine[0].socket)
    assert hub.deliver('{"type":"event"}', [ANA], None) == 3


async def test_a_connection_is_greeted_answered_and_dropped() -> None:
    hub, connection = Hub(), Connection()
    async with connected(hub, connection):
        assert (await connection.frame())["type"] == "connected"
        connection.client_sends('{"type":"ping"}')
        assert await connection.frame() == {"type": "pong"}
        assert hub.deliver('{"type":"event"}', [ANA], None) == 1
        assert await connection.frame() == {"type": "event"}


async def test_a_frame_before_the_greeting_is_sent_after_it() -> None:
    hub, connection = Hub(), Connection()

    class MembersThatDeliver(NoTrips):
        async def list_active_trips(self, user_id: UserId) -> list[TripId]:
            hub.deliver('{"type":"event"}', [ANA], None)
            return []

    async with connected(hub, connection, members=MembersThatDeliver()):
        assert [(await connection.frame())["type"] for _ in range(2)] == ["connected", "event"]


async def test_without_the_database_a_connection_is_closed_with_1013() -> None:
    hub, connection = Hub(), Connection()
    async with connected(hub, connection, members=NoTrips(Unavailable())):
        assert await connection.receive_sent() == Close(1013, "try again later")


async def test_a_session_that_ends_during_the_connect_closes_the_socket() -> None:
    hub, connection, ended = Hub(), Connection(), list[SessionId]()

    class Tokens(FakeTokens):
        async def verify(self, token: str, *, now: Any) -> Claims:
            if ended:
                raise Unauthenticated
            return Claims(ANA, NOON + timedelta(hours=1), session_id=SESSION)

    def sign_out() -> None:
        ended.append(SESSION)
        hub.end_session(SESSION)

    connection.on_accept = sign_out
    async with connected(hub, connection, verifier=Tokens()):
        closed = await connection.receive_sent()
        assert isinstance(closed, Close)
        assert closed.code == 4401


async def test_a_client_that_stops_reading_is_closed() -> None:
    hub, connection = Hub(), Connection()
    async with connected(hub, connection) as task:
        await connection.frame()
        connection.outlet.on_slow()
        assert await connection.receive_sent() == Close(4008, "too slow")
        await asyncio.wait_for(asyncio.shield(task), 10)


async def test_frames_beyond_the_rate_are_refused_with_an_answer_and_the_connection_stays() -> None:
    hub, connection = Hub(), Connection()
    async with connected(hub, connection):
        await connection.frame()
        for _ in range(200):
            connection.client_sends('{"type":"ping","payload":{"messageId":"m"}}')
        while not connection.incoming.empty():
            await asyncio.sleep(0)
        hub.deliver('{"type":"event"}', [ANA], None)
        answers = []
        while (answer := await connection.frame())["type"] != "event":
            answers.append(answer)
        pongs = [answer for answer in answers if answer == {"type": "pong"}]
        refusals = [answer for answer in answers if answer["type"] == "error"]
        assert FRAMES_PER_S - 1 <= len(pongs) < 100
        assert FRAMES_PER_S - 1 <= len(refusals) < 100
        assert refusals[0] == {
            "type": "error", "payload": {"code": "rate_limited", "messageId": "m"},
            "error": "Too many requests. Wait a moment and try again.",
        }  # fmt: skip


@pytest.mark.parametrize("code", [1012, 4401])
async def test_a_close_by_the_server_is_sent_and_ends_the_connection(code: int) -> None:
    hub, connection = Hub(), Connection()
    async with connected(hub, connection) as task:
        await connection.frame()
        hub.close_some(1, code, "because")
        assert await connection.receive_sent() == Close(code, "because")
        await asyncio.wait_for(asyncio.shield(task), 10)


async def test_users_are_awake_if_a_device_that_gets_the_trip_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nomadcrew.hosts.machine.sockets.hub.ANSWER_S", 0.2)
    asleep, awake, muted = FakeSocket(ANA), FakeSocket(BEN), FakeSocket(CLEO)
    other_of_ana = FakeSocket(ANA)
    awake.outlet.is_awake = muted.outlet.is_awake = True
    hub = hub_of(asleep, awake, muted, other_of_ana)
    await hub.mute(muted.socket.id, TRIP)
    assert await hub.awake([ANA, BEN, CLEO], TRIP) == {BEN}
    other_of_ana.outlet.is_awake = True
    assert await hub.awake([ANA, BEN, CLEO], TRIP) == {ANA, BEN}
    assert await hub.awake([], TRIP) == frozenset()
    awake.socket.close(1000, "bye")
    assert await hub.awake([BEN], TRIP) == frozenset()
