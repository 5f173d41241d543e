"""Reads request bodies, within limits of bytes, time and memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from nomadcrew.core.errors import Invalid, Unavailable
from nomadcrew.hosts.machine.http.exchange import Disconnected, Exchange
from nomadcrew.web.form_data import Form, MakeParser
from nomadcrew.web.problems import TooLarge

# A body has half a minute, and more as it arrives: a slow line can send a picture, but no client can pause.
BODY_TIMEOUT_S = 30.0
SLOWEST_BYTES_PER_S = 1024
# Bodies that one process holds, and those of one caller among them: two pictures of the largest size.
MEMORY_BYTES = 64 * 2**20
SHARE_BYTES = 24 * 2**20
# Forms and archives that one process writes to its disk, and those of one caller among them: one archive of the
# largest size.
DISK_BYTES = 640 * 2**20
DISK_SHARE_BYTES = 64 * 2**20
ROOM_TIMEOUT_S = 5.0
# Bodies up to this size never wait: almost all requests.
SMALL_BYTES = 64 * 1024


def later_end(ends_at_s: float, now_s: float, arrived_bytes: int) -> float:
    """The end of a body's time once more of it has arrived: never later than `BODY_TIMEOUT_S` from now."""
    return min(ends_at_s + arrived_bytes / SLOWEST_BYTES_PER_S, now_s + BODY_TIMEOUT_S)


class SlowBody(Invalid):
    code = "body_incomplete"
    text = "The request body did not arrive in time."


class BodyMemory:
    """The bytes of bodies that one process holds, in memory or on its disk. A body that finds no room waits, and so
    does its sender.
    """

    def __init__(self, total: int = MEMORY_BYTES, share: int = SHARE_BYTES) -> None:
        self._total = total
        self._share = share
        self._held = 0
        self._by_caller: dict[str, int] = {}
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def held(self) -> int:
        return self._held

    def take(self, caller: str, size: int) -> None:
        """Count `size` more bytes of a caller."""
        self._held += size
        self._by_caller[caller] = self._by_caller.get(caller, 0) + size

    def release(self, caller: str, size: int) -> None:
        self._held -= size
        self._by_caller[caller] -= size
        if not self._by_caller[caller]:
            del self._by_caller[caller]
        for each in self._waiting:
            if not each.done():
                each.set_result(None)

    async def wait_for_room(self, caller: str, size: int) -> None:
        """Return once there is room for `size` more bytes of a caller.

        Raises:
            Unavailable: there was none in time.
        """
        if self._has_room(caller, size):
            return
        try:
            async with asyncio.timeout(ROOM_TIMEOUT_S):
                while not self._has_room(caller, size):
                    released = asyncio.get_running_loop().create_future()
                    self._waiting.add(released)
                    try:
                        await released
                    finally:
                        self._waiting.discard(released)
        except TimeoutError:
            raise Unavailable from None

    def _has_room(self, caller: str, size: int) -> bool:
        return self._held + size <= self._total and self._by_caller.get(caller, 0) + size <= self._share


class IncomingBody:
    """The body of one request, which counts as held until `release`."""

    __slots__ = (
        "_caller", "_disk", "_exchange", "_folder", "_held", "_max_bytes", "_memory", "_on_disk", "_parts",
        "disconnected", "slow",
    )  # fmt: skip

    def __init__(
        self,
        memory: BodyMemory,
        exchange: Exchange,
        max_bytes: int,
        *,
        disk: BodyMemory | None = None,
        folder: Path | None = None,
    ) -> None:
        """`disk` counts the bytes of forms and files, which are in `folder`. Default: as those in memory."""
        self._memory = memory
        self._disk = disk or memory
        self._folder = folder
        self._on_disk = 0
        self._exchange = exchange
        self._max_bytes = max_bytes
        self._caller = ""
        self._held = 0
        self._parts: list[bytes] = []
        self.disconnected = False
        self.slow = False

    async def read(self, caller: str) -> bytes:
        """The whole body.

        Raises:
            TooLarge: it has, or declares, more bytes than the limit.
            SlowBody: it took too long, or the client disconnected.
            Unavailable: this process holds too many bodies.
        """
        headers = self._exchange.headers
        declared = headers.get("content-length")
        if declared is None and "transfer-encoding" not in headers:
            return b""
        self._check_declared()
        self._caller = caller
        try:
            part, complete = self._exchange.arrived()
            if complete and len(part) <= min(SMALL_BYTES, self._max_bytes):  # without a timer: almost all requests
                self._keep(part)
                return part
            await self._read_rest(part, complete=complete)
        except Disconnected:
            self.disconnected = True
            raise SlowBody from None
        except TimeoutError:
            self.slow = True
            raise SlowBody from None
        body = b"".join(self._parts)
        self._parts.clear()  # else a picture would be held twice until it is answered
        return body

    async def read_form(self, caller: str, parser: MakeParser) -> Form:
        """The whole form. Its file goes to the disk as it arrives; memory holds no more than waits on a connection.

        Raises:
            TooLarge, SlowBody, Unavailable: as `read` says, and `Unavailable` if the disk refuses the file.
            DomainError: as the parser says.
        """
        self._check_declared()
        self._caller = caller
        file = await self._temporary_file()
        with _closed_on_failure(file):
            reader = parser(self._exchange.headers.get("content-type", ""), file)
            async for part in self._parts_in_time():
                await self._take_room_on_disk(part)
                await asyncio.to_thread(reader.feed, part)
            return reader.finish()

    async def to_disk(self, caller: str, max_bytes: int) -> tuple[BinaryIO, int]:
        """The whole body in a temporary file, which the caller closes, and its size; at most `max_bytes`.

        Raises:
            TooLarge, SlowBody, Unavailable: as `read_form` says.
        """
        self._max_bytes = max_bytes
        self._check_declared()
        self._caller = caller
        file = await self._temporary_file()
        with _closed_on_failure(file):
            async for part in self._parts_in_time():
                await self._take_room_on_disk(part)
                await asyncio.to_thread(file.write, part)
        return file, self._on_disk

    def release(self) -> None:
        """Count the body as held no more."""
        if self._on_disk:
            self._disk.release(self._caller, self._on_disk)
            self._on_disk = 0
        if self._held:
            self._memory.release(self._caller, self._held)
            self._held = 0

    async def _read_rest(self, part: bytes, *, complete: bool) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout_at(loop.time() + BODY_TIMEOUT_S) as deadline:
            await self._take(part)
            while not complete:
                await self._exchange.more()
                part, complete = self._exchange.arrived()
                await self._take(part)
                deadline.reschedule(later_end(deadline.when() or 0.0, loop.time(), len(part)))

    async def _temporary_file(self) -> BinaryIO:
        """A file without a name on the disk: it is gone with this process."""
        try:
            return await asyncio.to_thread(_temporary, self._folder)
        except OSError as error:
            raise Unavailable(details=f"body: {error.strerror}") from error

    def _check_declared(self) -> None:
        declared = self._exchange.headers.get("content-length")
        if declared is not None and not _within(declared, self._max_bytes):
            raise TooLarge(self._max_bytes)

    async def _parts_in_time(self) -> AsyncIterator[bytes]:
        """The parts of the body as they arrive.

        Raises:
            SlowBody: it took too long, or the client disconnected.
        """
        loop = asyncio.get_running_loop()
        left_s = BODY_TIMEOUT_S  # without the time that the reader of a part takes
        complete = False
        try:
            while not complete:
                ends_at_s = loop.time() + left_s
                async with asyncio.timeout_at(ends_at_s):
                    await self._exchange.more()
                part, complete = self._exchange.arrived()
                now_s = loop.time()
                left_s = later_end(ends_at_s, now_s, len(part)) - now_s
                yield part
        except Disconnected:
            self.disconnected = True
            raise SlowBody from None
        except TimeoutError:
            self.slow = True
            raise SlowBody from None

    async def _take_room_on_disk(self, part: bytes) -> None:
        if self._on_disk + len(part) > self._max_bytes:
            raise TooLarge(self._max_bytes)
        await self._disk.wait_for_room(self._caller, len(part))
        if part:
            self._disk.take(self._caller, len(part))
            self._on_disk += len(part)

    async def _take(self, part: bytes) -> None:
        size = self._held + len(part)
        if size > self._max_bytes:
            raise TooLarge(self._max_bytes)
        if size > SMALL_BYTES:
            await self._memory.wait_for_room(self._caller, len(part))
        self._keep(part)

    def _keep(self, part: bytes) -> None:
        if part:
            self._memory.take(self._caller, len(part))
            self._held += len(part)
            self._parts.append(part)


@contextmanager
def _closed_on_failure(file: BinaryIO) -> Iterator[None]:
    """Close the file if the block fails. Raises Unavailable: the disk refused it."""
    try:
        yield
    except OSError as error:
        file.close()
        raise Unavailable(details=f"body: {error.strerror}") from error
    except BaseException:
        file.close()
        raise


def _temporary(folder: Path | None) -> BinaryIO:
    return cast("BinaryIO", TemporaryFile(dir=folder))


def _within(declared: str, max_bytes: int) -> bool:
    return len(declared) <= 10 and declared.isdecimal() and int(declared) <= max_bytes
