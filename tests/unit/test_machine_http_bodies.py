"""Request bodies in memory: shares of callers, and waiting for room."""

import asyncio
import tracemalloc

import pytest

from nomadcrew.core.errors import Unavailable
from nomadcrew.hosts.machine.http import bodies
from nomadcrew.hosts.machine.http.bodies import SMALL_BYTES, BodyMemory, IncomingBody, SlowBody
from nomadcrew.hosts.machine.http.exchange import Exchange
from nomadcrew.web.problems import TooLarge

HALF = SMALL_BYTES // 2


class Sender(Exchange):
    """A client that sends its next part when it is asked, and then disconnects if they were not all."""

    def __init__(self, *parts: bytes, complete: bool = True, pause_s: float = 0) -> None:
        super().__init__("POST", "/", "", {"transfer-encoding": "chunked"}, "", on_wait=self._send)
        self._left = list(parts)
        self._ends = complete
        self._pause_s = pause_s
        self.asked = 0

    def _send(self) -> None:
        self.asked += 1
        asyncio.get_running_loop().call_later(self._pause_s, self._deliver)

    def _deliver(self) -> None:
        if self._left:
            self.feed(self._left.pop(0))
        if not self._left:
            self.end() if self._ends else self.disconnect()


def incoming(memory: BodyMemory, sender: Sender, *, max_bytes: int = 1 << 30) -> IncomingBody:
    return IncomingBody(memory, sender, max_bytes)


async def test_a_body_counts_until_it_is_released() -> None:
    memory = BodyMemory()
    body = incoming(memory, Sender(b"ab", b"", b"c"))
    assert await body.read("ana") == b"abc"
    assert memory.held == 3
    body.release()
    body.release()
    assert memory.held == 0


async def test_small_bodies_do_not_wait_and_large_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "ROOM_TIMEOUT_S", 0.01)
    memory = BodyMemory(total=SMALL_BYTES, share=SMALL_BYTES)
    first = incoming(memory, Sender(b"x" * SMALL_BYTES))
    await first.read("ana")
    assert await incoming(memory, Sender(b"small")).read("ben") == b"small"
    sender = Sender(b"x" * HALF, b"x" * (HALF + 1), b"x")
    with pytest.raises(Unavailable):
        await incoming(memory, sender).read("cleo")
    assert sender.asked == 2  # the rest stays with its sender


@pytest.mark.parametrize(("caller", "waits"), [("ana", True), ("ben", False)])
async def test_one_caller_has_a_share(monkeypatch: pytest.MonkeyPatch, caller: str, waits: bool) -> None:
    monkeypatch.setattr(bodies, "ROOM_TIMEOUT_S", 0.01)
    memory = BodyMemory(total=10 * SMALL_BYTES, share=2 * SMALL_BYTES)
    await incoming(memory, Sender(b"x" * SMALL_BYTES)).read("ana")
    large = incoming(memory, Sender(b"x" * (SMALL_BYTES + 1)))
    if waits:
        with pytest.raises(Unavailable):
            await large.read(caller)
    else:
        assert len(await large.read(caller)) == SMALL_BYTES + 1


async def test_a_body_that_waits_goes_on_when_another_is_released() -> None:
    memory = BodyMemory(total=2 * SMALL_BYTES)
    first = incoming(memory, Sender(b"x" * (2 * SMALL_BYTES)))
    await first.read("ana")
    second = asyncio.create_task(incoming(memory, Sender(b"y" * (SMALL_BYTES + 1))).read("ben"))
    await asyncio.sleep(0.01)
    assert not second.done()
    first.release()
    assert len(await second) == SMALL_BYTES + 1


async def test_too_large_a_body_and_a_lost_sender_are_refused() -> None:
    memory = BodyMemory()
    with pytest.raises(TooLarge):
        await incoming(memory, Sender(b"x" * 6, b"x" * 6), max_bytes=10).read("ana")
    lost = incoming(memory, Sender(b"x", complete=False))
    with pytest.raises(SlowBody):
        await lost.read("ana")
    assert lost.disconnected


async def test_a_body_that_arrives_slowly_but_surely_gets_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(bodies, "SLOWEST_BYTES_PER_S", 100)
    body = incoming(BodyMemory(), Sender(*[b"x" * 10] * 4, pause_s=0.03))
    assert len(await body.read("ana")) == 40


async def test_a_body_of_many_parts_is_held_once() -> None:
    count = 64
    tracemalloc.start()
    try:
        body = incoming(BodyMemory(), Sender(*(bytes([n]) * SMALL_BYTES for n in range(count))))
        read = await body.read("ana")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(read) == count * SMALL_BYTES
    assert held < 1.5 * len(read)
