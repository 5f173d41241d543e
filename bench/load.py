"""HTTP load from wrk, and what it cost the server."""

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench.machine import CannotMeasure, Server, cpu_seconds
from bench.world import PASSWORD

SCRIPT = Path(__file__).with_name("wrk.lua")
# The host relays events after it has answered; that work belongs to the requests that caused it.
SETTLE_S = 0.3
_runs = count(1)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run at one load. `cpu_us` is the server's (or the driver's) CPU per request in microseconds."""

    per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def require_wrk() -> None:
    """Raises `CannotMeasure` where wrk is not installed."""
    if shutil.which("wrk") is None:
        raise CannotMeasure("The load comes from wrk, which is not installed: apt-get install wrk.")


def load(server: Server, kind: str, cases: Path, *, connections: int, seconds: float) -> Sample:
    """Send requests of one kind for a while; `cases` is what `world.write_cases` wrote.

    Raises:
        CannotMeasure: a request failed, so that the figures would be about something else.
    """
    command = [
        "wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s",
        "--timeout", "30s", "--script", str(SCRIPT), server.url,
        "--", kind, str(cases), PASSWORD, f"{server.name}{next(_runs)}",
    ]  # fmt: skip
    before_s = cpu_seconds(server.pid)
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    time.sleep(SETTLE_S)
    used_s = cpu_seconds(server.pid) - before_s
    line = next((line for line in run.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise CannotMeasure(f"wrk gave no result for {kind} on {server.name}: {run.stdout}{run.stderr}")
    told = json.loads(line.removeprefix("RESULT "))
    if told["refused"] or told["broken"] or not told["requests"]:
        raise CannotMeasure(f"{kind} on {server.name} at {connections} connections: {line}")
    return Sample(
        told["requests"] / told["seconds"], used_s / told["requests"] * 1e6, told["p50_ms"], told["p99_ms"]
    )
