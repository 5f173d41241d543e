"""`python -m bench.http_alone`: the host's HTTP protocol beside uvicorn and granian, which give the same reply."""

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import machine, requests, wrk
from bench.machine import CannotMeasure, Server
from bench.requests import Template

CONNECTIONS = 16
TOKEN = "x" * 700  # as long as an access token
REQUESTS = {
    "GET": Template("GET", "/v1/trips/019a0000-0000-7000-8000-000000000000"),
    "POST": Template(
        "POST", "/v1/trips/019a0000-0000-7000-8000-000000000000/todos", '{"text":"pack for the hills"}'
    ),
}


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[list[Server]]:
    port, other = machine.free_port(), machine.free_port()
    host = [sys.executable, "-m", "bench.http_apps", str(port)]
    granian = [
        sys.executable, "-m", "granian", "--interface", "rsgi", "--port", str(other), "--workers", "1",
        "--loop", "uvloop", "--no-log", "bench.http_apps:rsgi",
    ]  # fmt: skip
    with (
        machine.serving("host", host, port, folder) as ours,
        machine.uvicorn("uvicorn", "bench.http_apps:asgi", folder, {}, machine.EMPTY_OPTIONS) as uvicorn,
        machine.serving("granian", granian, other, folder) as third,
    ):
        yield [ours, uvicorn, third]


def cpu_us(server: Server, file: Path, seconds: float) -> float:
    """CPU per request of a server and its children: granian answers in one."""
    before_s = machine.tree_cpu_seconds(server.pid)
    done = wrk.run(server.url, file, connections=CONNECTIONS, seconds=seconds)
    return (machine.tree_cpu_seconds(server.pid) - before_s) / done.requests * 1e6


def measure(rounds: int, seconds: float) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="http-", dir=machine.scratch()) as name,
        servers(Path(name)) as compared,
    ):
        files = {method: Path(name, f"{method}.lua") for method in REQUESTS}
        for method, file in files.items():
            wrk.write([requests.fill(REQUESTS[method], TOKEN, {})], file)
        used: dict[tuple[str, str], list[float]] = {}
        for number in range(rounds):
            for method, file in files.items():
                for server in compared if number % 2 == 0 else compared[::-1]:
                    used.setdefault((method, server.name), []).append(cpu_us(server, file, seconds))
    for method in REQUESTS:
        median = {server.name: statistics.median(used[method, server.name]) for server in compared}
        shown = ", ".join(f"{server} {us:.1f} µs" for server, us in median.items())
        ratios = [f"{median['host'] / median[other]:.2f} of {other}" for other in ("uvicorn", "granian")]
        print(f"{method}: {shown} of CPU; the host takes {' and '.join(ratios)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="duration of each run")
    chosen = parser.parse_args()
    try:
        machine.require_linux()
        wrk.require_wrk()
        measure(chosen.rounds, chosen.seconds)
    except CannotMeasure as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
