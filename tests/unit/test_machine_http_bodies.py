"""Request bodies in memory and on disk: shares of callers, and waiting for room."""

import asyncio
import tracemalloc
from pathlib import Path
from typing import cast

import pytest

from nomadcrew.core.archives.limits import MAX_ARCHIVE_BYTES
from nomadcrew.core.errors import Unavailable
from nomadcrew.hosts.machine.http import bodies
from nomadcrew.hosts.machine.http.bodies import SMALL_BYTES, BodyMemory, IncomingBody, SlowBody
from nomadcrew.hosts.machine.http.exchange import Exchange
from nomadcrew.web.multipart import FormReader
from nomadcrew.web.problems import TooLarge
from nomadcrew.web.upload import ZipReader

HALF = SMALL_BYTES // 2
CONTENT_TYPE = "multipart/form-data; boundary=limit"


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


async def test_a_burst_buys_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.02)
    body = incoming(BodyMemory(), Sender(b"x" * 20_000, b"x", pause_s=0.2))
    with pytest.raises(SlowBody):
        await body.read("ana")
    assert body.slow
    file = incoming_form(Sender(b"x" * 20_000, b"x", pause_s=0.2))
    with pytest.raises(SlowBody):
        await file.to_disk("ana", 30_000)


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


def form_of(file_parts: int, *, size: int = SMALL_BYTES) -> list[bytes]:
    """The parts of a form, whose file is the same part several times."""
    part = b"x" * size
    head = b'--limit\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
    return [head, *[part] * file_parts, b"\r\n--limit--\r\n"]


class FormSender(Sender):
    """A client that sends a form."""

    def __init__(self, *parts: bytes, complete: bool = True, content_type: str = CONTENT_TYPE) -> None:
        super().__init__(*parts, complete=complete)
        self.headers = {**self.headers, "content-type": content_type}


def incoming_form(
    sender: Sender, *, disk: BodyMemory | None = None, folder: Path | None = None, max_bytes: int = 1 << 30
) -> IncomingBody:
    return IncomingBody(BodyMemory(), sender, max_bytes, disk=disk, folder=folder)


async def test_a_form_of_10_mib_takes_less_than_2_mib_of_memory(tmp_path: Path) -> None:
    parts, disk = form_of(160), BodyMemory()
    body = incoming_form(FormSender(*parts), disk=disk, folder=tmp_path)
    tracemalloc.start()
    try:
        form = await body.read_form("ana", FormReader)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (form.size_bytes, disk.held) == (10 * 2**20, sum(map(len, parts)))
    assert peak < 2 * 2**20
    assert list(tmp_path.iterdir()) == []  # the file has no name, so that a crash leaves nothing
    form.close()
    body.release()
    assert disk.held == 0


async def test_forms_share_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "ROOM_TIMEOUT_S", 0.01)
    disk = BodyMemory(total=3 * SMALL_BYTES)
    first = incoming_form(FormSender(*form_of(2)), disk=disk)
    form = await first.read_form("ana", FormReader)
    with pytest.raises(Unavailable):
        await incoming_form(FormSender(*form_of(2)), disk=disk).read_form("ben", FormReader)
    form.close()


async def test_too_large_a_form_and_a_lost_sender_are_refused() -> None:
    with pytest.raises(TooLarge):
        await incoming_form(FormSender(*form_of(2)), max_bytes=SMALL_BYTES).read_form("ana", FormReader)
    lost = incoming_form(FormSender(*form_of(1)[:-1], complete=False))
    with pytest.raises(SlowBody):
        await lost.read_form("ana", FormReader)
    assert lost.disconnected


async def test_a_form_that_stops_arriving_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.02)
    sender = Exchange("POST", "/", "", {"transfer-encoding": "chunked", "content-type": CONTENT_TYPE}, "")
    body = incoming_form(cast("Sender", sender))
    with pytest.raises(SlowBody):
        await body.read_form("ana", FormReader)
    assert body.slow


async def test_a_disk_that_refuses_a_form_is_an_outage(tmp_path: Path) -> None:
    body = incoming_form(FormSender(*form_of(1)), folder=tmp_path / "missing")
    with pytest.raises(Unavailable):
        await body.read_form("ana", FormReader)


async def test_a_body_goes_to_the_disk_as_it_arrives() -> None:
    body = incoming_form(Sender(b"ab", b"c"))
    file, size = await body.to_disk("ana", 3)
    with file:
        file.seek(0)
        assert (file.read(), size) == (b"abc", 3)
    with pytest.raises(TooLarge):
        await incoming_form(Sender(b"ab", b"c")).to_disk("ana", 2)


@pytest.mark.parametrize("parts", [10, 65])
async def test_an_archive_goes_to_the_disk_within_the_share_of_its_caller(tmp_path: Path, parts: int) -> None:
    memory, disk = BodyMemory(), BodyMemory(bodies.DISK_BYTES, bodies.DISK_SHARE_BYTES)
    exchange = Sender(*[bytes(2**20)] * parts)
    cast("dict[str, str]", exchange.headers)["content-type"] = "application/zip"
    body = IncomingBody(memory, exchange, MAX_ARCHIVE_BYTES, disk=disk, folder=tmp_path)
    tracemalloc.start()
    try:
        if parts << 20 > MAX_ARCHIVE_BYTES:
            with pytest.raises(TooLarge):
                await body.read_form("ana", ZipReader)
        else:
            form = await body.read_form("ana", ZipReader)
            assert (form.size_bytes, disk.held, memory.held) == (parts << 20, parts << 20, 0)
            form.close()
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    body.release()
    assert disk.held == 0
