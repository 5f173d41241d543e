"""Health pages for users, process managers and load balancers.

The contract's health document also has a `redis` component. This host has no cache service, and no client reads the
field, so it is omitted.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC
from typing import Literal

import msgspec

from nomadcrew import __version__
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import Unavailable
from nomadcrew.web.call import Reply
from nomadcrew.web.problems import JSON_TYPE

log = logging.getLogger("nomadcrew.health")

Status = Literal["UP", "DEGRADED", "DOWN"]
PING_TIMEOUT_S = 2.0
REMEMBERED_S = 1.0
STORAGE_REMEMBERED_S = 10.0
SILENT_AFTER_S = 30.0


class Component(msgspec.Struct, omit_defaults=True):
    """The state of one part; `details` explains any state but UP."""

    status: Status
    details: str | None = None


class HealthCheck(msgspec.Struct):
    status: Status
    components: dict[str, Component]
    version: str
    timestamp: str
    uptime: str


class Heartbeat:
    """The heartbeat of a background loop: it beats once per round, and a long silence means that it is stuck."""

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._last_s = now_s()

    def beat(self) -> None:
        self._last_s = self._now_s()

    @property
    def silent_s(self) -> float:
        return self._now_s() - self._last_s


class Health:
    """The three health pages."""

    def __init__(
        self,
        ping: Callable[[], Awaitable[object]],
        *,
        clock: Clock,
        heartbeats: Mapping[str, Heartbeat] | None = None,
        silences: Callable[[], Awaitable[Mapping[str, float]]] | None = None,
        try_to_write: Callable[[], object] | None = None,
        version: str = __version__,
    ) -> None:
        """`ping` runs a trivial statement on the database and raises `Unavailable` if it does not answer.

        `heartbeats` are those of this process's loops, by the name on the pages; `silences` returns the seconds
        since the last heartbeat of another process's loops. `try_to_write` writes to the disk of the data folder,
        in a thread, and raises `OSError` if the disk refuses.
        """
        self._ping = ping
        self._clock = clock
        self._heartbeats = heartbeats or {}
        self._silences = silences
        self._version = version
        self._started_s = time.monotonic()
        self._database = Component("UP")
        self._known_until_s = float("-inf")
        self._try_to_write = try_to_write
        self._storage = Component("UP")
        self._storage_known_until_s = float("-inf")
        self._ping_lock = asyncio.Lock()

    async def health(self) -> Reply:
        """The health document; the status is always 200, as the contract says."""
        return _reply(200, await self.check())

    async def liveness(self) -> Reply:
        """200: the process answers."""
        return Reply(200)

    async def readiness(self) -> Reply:
        """503 if requests cannot be served, else 200."""
        check = await self.check()
        return _reply(503 if check.status == "DOWN" else 200, check)

    async def check(self) -> HealthCheck:
        """The state of every component.

        The whole is DOWN without the database or if the disk takes no writes, and DEGRADED if a background loop is
        stuck.
        """
        components = {"database": await self._database_state()}
        if self._try_to_write is not None:
            components["storage"] = await self._storage_state(self._try_to_write)
        silent = {name: heartbeat.silent_s for name, heartbeat in self._heartbeats.items()}
        if self._silences is not None:
            silent |= await self._silences()
        components |= {name: _pulse(silent_s) for name, silent_s in silent.items()}
        return HealthCheck(
            status=_overall(components),
            components=components,
            version=self._version,
            timestamp=self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            uptime=duration_text(time.monotonic() - self._started_s),
        )

    async def _database_state(self) -> Component:
        """The database's state, at most 1 s old: the pages are public and must not load the database."""
        async with self._ping_lock:
            if time.monotonic() >= self._known_until_s:
                self._database = await self._ping_once()
                self._known_until_s = time.monotonic() + REMEMBERED_S
            return self._database

    async def _storage_state(self, try_to_write: Callable[[], object]) -> Component:
        """The disk's state, at most 10 s old: each look is a synced write."""
        async with self._ping_lock:
            if time.monotonic() >= self._storage_known_until_s:
                try:
                    await asyncio.wait_for(asyncio.to_thread(try_to_write), PING_TIMEOUT_S)
                    self._storage = Component("UP")
                except TimeoutError:
                    self._storage = Component("DOWN", f"no write within {PING_TIMEOUT_S:g} s")
                except OSError as error:
                    # The text names no file: the pages are public.
                    self._storage = Component("DOWN", f"takes no writes: {error.strerror}")
                self._storage_known_until_s = time.monotonic() + STORAGE_REMEMBERED_S
            return self._storage

    async def _ping_once(self) -> Component:
        try:
            await asyncio.wait_for(self._ping(), PING_TIMEOUT_S)
        except TimeoutError:
            return Component("DOWN", f"no answer within {PING_TIMEOUT_S:g} s")
        except Unavailable:
            return Component("DOWN", "not reachable")
        except Exception:
            log.exception("database ping failed")
            return Component("DOWN", "the ping failed")
        return Component("UP")


def duration_text(seconds: float) -> str:
    """A duration such as `2d3h4m5s`, without leading zero parts."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    parts = ((days, "d"), (hour, "h"), (minute, "m"))
    shown = "".join(f"{value}{unit}" for value, unit in parts if value)
    return f"{shown}{second}s"


def _overall(components: Mapping[str, Component]) -> Status:
    if any(components[name].status == "DOWN" for name in ("database", "storage") if name in components):
        return "DOWN"
    return "UP" if all(component.status == "UP" for component in components.values()) else "DEGRADED"


def _pulse(silent_s: float) -> Component:
    if silent_s <= SILENT_AFTER_S:
        return Component("UP")
    return Component("DOWN", f"no heartbeat for {duration_text(silent_s)}")


def _reply(status: int, check: HealthCheck) -> Reply:
    return Reply(status, msgspec.json.encode(check), {"content-type": JSON_TYPE, "cache-control": "no-store"})
