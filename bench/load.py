"""HTTP load from wrk, and its cost for the server."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench.machine import CannotMeasure, Server, cpu_seconds
from bench.world import PASSWORD

SCRIPT = Path(__file__).with_name("wrk.lua")
# The host relays events after its reply; this work is counted for the requests that caused it.
SETTLE_S = 0.3
SETTLED_WITHIN_S = 60.0
_WAITING = ("nomadcrew_outbox_pending ", "nomadcrew_queue_jobs{")
_runs = count(1)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run at one load. `cpu_us` is the server's (or the driver's) CPU per request in microseconds."""

    per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def require_wrk() -> None:
    """Raises `CannotMeasure`: wrk is not installed."""
    if shutil.which("wrk") is None:
        raise CannotMeasure("wrk, which generates the load, is not installed: apt-get install wrk.")


def settle(server: Server) -> None:
    """Wait until a server has processed the events and jobs of earlier requests.

    Raises:
        CannotMeasure: it does not finish in time.
    """
    time.sleep(SETTLE_S)
    deadline_s = time.monotonic() + SETTLED_WITHIN_S
    while server.name == "nomadcrew" and waiting_work(server.url):
        if time.monotonic() > deadline_s:
            raise CannotMeasure(f"After {SETTLED_WITHIN_S:g} s the server still processes events or jobs.")
        time.sleep(SETTLE_S)


def waiting_work(url: str) -> float:
    """The number of waiting events and jobs of a NomadCrew server; 0 of others."""
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
    except urllib.error.HTTPError:
        return 0
    waiting = [line for line in lines if line.startswith(_WAITING) and 'state="dead"' not in line]
    return sum(float(line.rpartition(" ")[2]) for line in waiting)


def load(server: Server, kind: str, cases: Path, *, connections: int, seconds: float) -> Sample:
    """Send requests of one kind for a while; `cases` is the file from `world.write_cases`.

    Raises:
        CannotMeasure: a request failed, so the figures would be wrong.
    """
    command = [
        "wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s",
        "--timeout", "30s", "--script", str(SCRIPT), server.url,
        "--", kind, str(cases), PASSWORD, f"{server.name}{next(_runs)}",
    ]  # fmt: skip
    before_s = cpu_seconds(server.pid)
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    settle(server)
    used_s = cpu_seconds(server.pid) - before_s
    line = next((line for line in run.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise CannotMeasure(f"wrk gave no result for {kind} on {server.name}: {run.stdout}{run.stderr}")
    result = json.loads(line.removeprefix("RESULT "))
    if result["refused"] or result["broken"] or not result["requests"]:
        raise CannotMeasure(f"{kind} on {server.name} at {connections} connections: {line}")
    return Sample(
        result["requests"] / result["seconds"],
        used_s / result["requests"] * 1e6,
        result["p50_ms"],
        result["p99_ms"],
    )
