"""The open connections of this process: how many one address may have, and the end of those that take too long.

Addresses are those of the TCP peers. A trusted proxy holds connections for many clients, so it is not limited here.
With several workers, each counts its own connections.
"""

import asyncio
import logging
import math
from typing import Protocol

from nomadcrew.core.rate_limits import network_of
from nomadcrew.hosts.machine.http.client_address import TrustedProxies

log = logging.getLogger("nomadcrew.host")

SWEEP_S = 1.0
WARN_EVERY_S = 60.0
# Bytes of replies that clients have not taken, in this process; beyond, the clients that wait longest are cut off.
UNREAD_BYTES = 48 * 2**20
# A client has half a minute to take what waits for it, and more for much, so that slow phones get long lists.
UNREAD_S = 30.0
SLOWEST_BYTES_PER_S = 8 * 1024


class Connection(Protocol):
    """A connection that can be ended."""

    def ends_at_s(self, now_s: float) -> float:
        """The event loop's time at which the client is late; `inf` if nothing is expected of it."""
        ...

    def unread_bytes(self) -> int:
        """Bytes that wait for a client which does not read; 0 for one that does."""
        ...

    def cut_off(self) -> None:
        """Close at once, without sending the rest."""
        ...


class WriteDeadline:
    """The time until which a client must have taken what waits for it."""

    __slots__ = ("ends_at_s",)

    def __init__(self) -> None:
        self.ends_at_s = math.inf

    def start(self, transport: asyncio.Transport, now_s: float) -> None:
        self.ends_at_s = now_s + UNREAD_S + transport.get_write_buffer_size() / SLOWEST_BYTES_PER_S

    def stop(self) -> None:
        self.ends_at_s = math.inf

    def check(self, transport: asyncio.Transport, now_s: float) -> float:
        """The deadline; it starts when the server has closed and the client must take the rest."""
        if self.ends_at_s == math.inf and transport.is_closing():
            self.start(transport, now_s)
        return self.ends_at_s

    def unread_bytes(self, transport: asyncio.Transport) -> int:
        return 0 if self.ends_at_s == math.inf else transport.get_write_buffer_size()


class Connections:
    """The connections of this process, by address."""

    def __init__(
        self, *, total: int, per_address: int, proxies: TrustedProxies | None = None, unread: int = UNREAD_BYTES
    ) -> None:
        """One address may have `per_address` of `total` connections, and at most half of them."""
        self._total = total
        self._per_address = min(per_address, max(1, total // 2))
        self._proxies = proxies or TrustedProxies()
        self._unread = unread
        self._addresses: dict[Connection, str] = {}
        self._counts: dict[str, int] = {}
        self._warned_s = -math.inf

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def per_address(self) -> int:
        return self._per_address

    def admit(self, connection: Connection, peer: str, now_s: float) -> bool:
        """Count a new connection; False: it exceeds a limit and must be closed."""
        address = "" if self._proxies.trusts(peer) else network_of(peer)
        full = len(self._addresses) >= self._total
        if full or (address and self._counts.get(address, 0) >= self._per_address):
            self._warn(now_s, "of all clients" if full else "of one address")
            return False
        self._addresses[connection] = address
        self._counts[address] = self._counts.get(address, 0) + 1
        return True

    def replace(self, old: Connection, new: Connection) -> None:
        """Count `new` for `old`, whose connection it has taken over."""
        if old in self._addresses:
            self._addresses[new] = self._addresses.pop(old)

    def leave(self, connection: Connection) -> None:
        """Count a closed connection no more."""
        address = self._addresses.pop(connection, None)
        if address is None:
            return
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]

    def sweep(self, now_s: float) -> None:
        """Cut off the connections whose time is over, and those that wait longest if too many bytes are unread."""
        unread: list[tuple[float, int, Connection]] = []
        total = 0
        for connection in tuple(self._addresses):
            ends_at_s = connection.ends_at_s(now_s)
            if ends_at_s <= now_s:
                connection.cut_off()
                continue
            size = connection.unread_bytes()
            if size:
                unread.append((ends_at_s, size, connection))
                total += size
        if total <= self._unread:
            return
        for _, size, connection in sorted(unread, key=lambda one: one[0]):
            connection.cut_off()
            total -= size
            if total <= self._unread:
                return

    async def run(self) -> None:
        """Sweep until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep(loop.time())

    def _warn(self, now_s: float, whose: str) -> None:
        if now_s - self._warned_s < WARN_EVERY_S:
            return
        self._warned_s = now_s
        log.warning(
            "too many connections %s, new ones are closed; see docs/operating.md", whose,
            extra={"fields": {"connections": len(self._addresses)}},
        )  # fmt: skip
