"""Runs wrk with the requests of `bench.requests`."""

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench import requests
from bench.machine import CannotMeasure

SCRIPT = Path(__file__).with_name("requests.lua")
_runs = count(int(time.time()))


class Refused(CannotMeasure):
    """Some requests had no success, so the figures would be wrong."""


@dataclass(frozen=True, slots=True)
class Load:
    """One run: the number of requests, and the bytes of a reply with its head."""

    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    reply_bytes: float


def require_wrk() -> None:
    """Raises `CannotMeasure`: wrk is not installed."""
    if shutil.which("wrk") is None:
        raise CannotMeasure("wrk, which generates the load, is not installed: apt-get install wrk.")


def write(todo: Sequence[requests.Request], path: Path) -> None:
    path.write_text(requests.lua(todo))


def run(url: str, file: Path, *, connections: int, seconds: float) -> Load:
    """Send the requests of a file, again and again, over open connections.

    Raises:
        Refused: a request was refused or broken.
        CannotMeasure: wrk failed.
    """
    command = [
        "wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s",
        "--timeout", "30s", "--script", str(SCRIPT), url, "--", str(file), f"{next(_runs) % 10**6:06}",
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next((line for line in ended.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise CannotMeasure(f"wrk gave no result: {ended.stdout}{ended.stderr}")
    result = json.loads(line.removeprefix("RESULT "))
    if result["refused"] or result["broken"] or not result["requests"]:
        refusals = [f"{number} × {status}" for status, number in sorted(result["refused"].items())]
        broken = [f"{result['broken']} × broken or without a reply"] if result["broken"] else []
        failed = ", ".join(refusals + broken) or "no reply at all"
        raise Refused(f"{failed}, of {result['requests']} requests")
    return Load(
        result["requests"],
        result["requests"] / result["seconds"],
        result["p50_ms"],
        result["p99_ms"],
        result["bytes"] / result["requests"],
    )
