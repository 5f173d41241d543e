"""HTTP load on a server, and its cost for the server and for PostgreSQL."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import wrk
from bench.machine import CannotMeasure, Server

# Servers relay events after the reply; this work is counted for the requests that caused it.
SETTLE_S = 0.3
SETTLED_WITHIN_S = 60.0
QUIET_CORES = 0.05
_WAITING = ("nomadcrew_outbox_pending ", "nomadcrew_queue_jobs{")


@dataclass(frozen=True, slots=True)
class Sample:
    """One run at one load. CPU is in microseconds per request, of the server (or the driver) and of PostgreSQL."""

    per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    postgres_us: float


def settle(url: str | None, used_s: Callable[[], float]) -> None:
    """Wait until a server has nothing left to do: its queue, if it shows one, is empty, and it uses no CPU.

    `used_s` returns its CPU seconds so far; without a `url` it has no queue.

    Raises:
        CannotMeasure: it does not finish in time.
    """
    deadline_s = time.monotonic() + SETTLED_WITHIN_S
    while True:
        before_s = used_s()
        time.sleep(SETTLE_S)
        if used_s() - before_s <= QUIET_CORES * SETTLE_S and not (url and _waiting_work(url)):
            return
        if time.monotonic() > deadline_s:
            raise CannotMeasure(f"After {SETTLED_WITHIN_S:g} s the server is still busy.")


def settle_server(server: Server) -> None:
    """Raises `CannotMeasure`: the server does not finish its work in time."""
    url = server.url if server.name == "nomadcrew" else None
    settle(url, lambda: server.cpu_seconds() + server.postgres_seconds())


def _waiting_work(url: str) -> float:
    """The number of waiting events and jobs of a NomadCrew server; 0 of others."""
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
    except urllib.error.HTTPError:
        return 0
    waiting = [line for line in lines if line.startswith(_WAITING) and 'state="dead"' not in line]
    return sum(float(line.rpartition(" ")[2]) for line in waiting)


def load(server: Server, file: Path, *, connections: int, seconds: float) -> Sample:
    """Send the requests of a file for a while.

    Raises:
        CannotMeasure: a request failed, so the figures would be wrong.
    """
    cpu_s, postgres_s = server.cpu_seconds(), server.postgres_seconds()
    done = wrk.run(server.url, file, connections=connections, seconds=seconds)
    settle_server(server)
    used_s, postgres_used_s = server.cpu_seconds() - cpu_s, server.postgres_seconds() - postgres_s
    return Sample(
        done.per_s,
        used_s / done.requests * 1e6,
        done.p50_ms,
        done.p99_ms,
        postgres_used_s / done.requests * 1e6,
    )
