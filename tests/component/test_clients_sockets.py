"""The events of the Python client, on a socket whose server misbehaves."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import msgspec
import pytest
from nomadcrew_client import Refused, Tokens, models
from nomadcrew_client.sockets import follow
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

Behaviour = Callable[[ServerConnection], Awaitable[object]]
WITHIN_S = 20.0


def event(id_: str, *, kept: bool = True) -> models.Envelope:
    return models.Envelope(
        id=id_, type="T", trip_id="p1", timestamp="", version=1,
        metadata=models.Metadata(source="test"), payload=None, kept=kept,
    )  # fmt: skip


async def greet(socket: ServerConnection) -> None:
    await socket.send(json.dumps({"type": "connected", "payload": {}}))


async def send(socket: ServerConnection, *events: models.Envelope) -> None:
    for sent in events:
        await socket.send(msgspec.json.encode({"type": "event", "payload": sent}).decode())


class Caller:
    """A client whose API has these stored events. A page of one refreshes its tokens."""

    def __init__(self, *stored: str) -> None:
        self.stored = [event(id_) for id_ in stored]
        self.asked: list[str | None] = []
        self.sockets_url = ""
        self.tokens: Tokens | None = Tokens("stale", "r1")
        self.refusal: Refused | None = None

    async def list_events(self, *, after: str | None = None, limit: int | None = None) -> models.EventPageView:
        if self.refusal is not None:
            raise self.refusal
        if limit == 1:
            self.tokens = Tokens("fresh", "r2")
        else:
            self.asked.append(after)
        ids = [stored.id for stored in self.stored]
        start = ids.index(after) + 1 if after else 0
        page = self.stored[start : start + 2]
        return models.EventPageView(
            events=page, next=page[-1].id if page else after, has_more=len(ids) > start + len(page)
        )


@asynccontextmanager
async def server(caller: Caller, *behaviours: Behaviour) -> AsyncIterator[list[Subprotocol]]:
    """A server of one behaviour per connection, the last of which lasts. Yields the tokens that were offered."""
    offered: list[Subprotocol] = []
    left = list(behaviours)

    def choose(connection: ServerConnection, names: object) -> Subprotocol:
        assert isinstance(names, list)
        offered.append(names[1])
        return Subprotocol("nomadcrew.v1")

    async def play(connection: ServerConnection) -> None:
        await left.pop(0)(connection)
        if not left:
            await connection.wait_closed()

    async with serve(play, "127.0.0.1", 0, select_subprotocol=choose) as running:
        caller.sockets_url = f"ws://127.0.0.1:{next(iter(running.sockets)).getsockname()[1]}"
        yield offered


async def first(count: int, caller: Caller, after: str | None) -> list[str]:
    """The ids of the first events that the client delivers."""
    found: list[str] = []
    async with asyncio.timeout(WITHIN_S), aclosing(follow(caller, after)) as events:
        async for received in events:
            found.append(received.id)
            if len(found) == count:
                break
    return found


async def test_missed_events_come_page_by_page_after_the_greeting_and_before_new_ones() -> None:
    caller = Caller("e1", "e2", "e3", "e4")

    async def early_and_late(socket: ServerConnection) -> None:
        await send(socket, event("e4"))
        await greet(socket)
        await send(socket, event("e3"), event("e5"))

    async with server(caller, early_and_late):
        assert await first(4, caller, "e1") == ["e2", "e3", "e4", "e5"]


async def test_without_a_known_event_the_oldest_stored_one_is_first() -> None:
    caller = Caller("e1", "e2", "e3")
    async with server(caller, greet):
        assert await first(3, caller, None) == ["e1", "e2", "e3"]


async def test_a_lost_connection_resumes_after_the_last_stored_event() -> None:
    caller = Caller("e1")

    async def lose(socket: ServerConnection) -> None:
        await greet(socket)
        await send(socket, event("e2"), event("b1", kept=False))
        await asyncio.sleep(0.2)
        caller.stored += [event("e2"), event("e3")]
        socket.transport.abort()

    async with server(caller, lose, greet):
        assert await first(3, caller, "e1") == ["e2", "b1", "e3"]
    assert caller.asked == ["e1", "e2"]


async def test_a_refused_token_is_refreshed_before_the_next_connection() -> None:
    caller = Caller("e1")

    async def refuse(socket: ServerConnection) -> None:
        await socket.close(4401)

    async with server(caller, refuse, greet) as offered:
        assert await first(1, caller, None) == ["e1"]
    assert offered == ["stale", "fresh"]


async def test_an_ended_session_ends_the_events() -> None:
    caller = Caller("e1")

    async def refuse(socket: ServerConnection) -> None:
        caller.refusal = Refused(401, None, {})
        await socket.close(4401)

    async with server(caller, refuse, greet):
        with pytest.raises(Refused):
            await first(1, caller, None)


async def test_an_event_that_is_too_old_to_follow_is_refused() -> None:
    caller = Caller()
    caller.refusal = Refused(410, None, {})
    async with server(caller, greet):
        with pytest.raises(Refused) as refused:
            await first(1, caller, "gone")
    assert refused.value.status == 410


async def test_an_outage_while_catching_up_is_no_end() -> None:
    caller = Caller("e1")
    caller.refusal = Refused(503, None, {})

    async def recover(socket: ServerConnection) -> None:
        caller.refusal = None
        await greet(socket)

    async with server(caller, greet, recover):
        assert await first(1, caller, None) == ["e1"]


async def test_a_silent_connection_is_asked_and_then_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nomadcrew_client.sockets._QUIET_S", 0.2)
    caller = Caller("e1")
    asked: list[object] = []

    async def stay_silent(socket: ServerConnection) -> None:
        asked.append(json.loads(await socket.recv()))
        await socket.wait_closed()

    async with server(caller, stay_silent, greet):
        assert await first(1, caller, None) == ["e1"]
    assert asked == [{"type": "ping"}]
