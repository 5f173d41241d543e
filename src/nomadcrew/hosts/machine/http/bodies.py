"""Reads request bodies, within limits of bytes, time and memory."""

import asyncio

from nomadcrew.core.errors import Invalid, Unavailable
from nomadcrew.hosts.machine.http.exchange import Disconnected, Exchange
from nomadcrew.web.problems import TooLarge

# A body has half a minute, and more as it arrives, so that a phone on a slow line can send a picture.
BODY_TIMEOUT_S = 30.0
SLOWEST_BYTES_PER_S = 32 * 1024
# Bodies that one process holds, and those of one caller among them: two pictures of the largest size.
MEMORY_BYTES = 64 * 2**20
SHARE_BYTES = 24 * 2**20
ROOM_TIMEOUT_S = 5.0
# Bodies up to this size never wait: almost all requests.
SMALL_BYTES = 64 * 1024


class SlowBody(Invalid):
    code = "body_incomplete"
    text = "The request body did not arrive in time."


class BodyMemory:
    """The bytes of bodies that one process holds. A body that finds no room waits, and so does its sender."""

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

    __slots__ = ("_caller", "_exchange", "_held", "_max_bytes", "_memory", "_parts", "disconnected", "slow")

    def __init__(self, memory: BodyMemory, exchange: Exchange, max_bytes: int) -> None:
        self._memory = memory
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
        if declared is not None and not _within(declared, self._max_bytes):
            raise TooLarge(self._max_bytes)
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

    def release(self) -> None:
        """Count the body as held no more."""
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
                deadline.reschedule((deadline.when() or 0.0) + len(part) / SLOWEST_BYTES_PER_S)

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


def _within(declared: str, max_bytes: int) -> bool:
    return len(declared) <= 10 and declared.isdecimal() and int(declared) <= max_bytes
