"""`make bench`: requests, events and memory of the host, compared with the bare driver and a plain FastAPI stack.

Everything is measured in one run, in rounds over all cases, so that a noisy minute affects all of them; the results
are the ratios of the medians.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from bench import driver, fanout, in_process, machine, report, sockets
from bench.load import Sample, load, require_wrk
from bench.machine import CannotMeasure, Server
from bench.report import AT, NAMES, PLAIN, Results
from bench.world import World, fill, sqlalchemy_url, write_cases
from nomadcrew.hosts.machine.open_files import allow_open_files
from nomadcrew.hosts.machine.ports import DEFAULT_ISSUER

CONNECTIONS = (1, 16, 64)
REST_S = 2.0


class Bench:
    """Both servers on one database, two servers without a database, and the measurements on them."""

    def __init__(
        self,
        ours: Server,
        plain: Server,
        empty: Server,
        echo: Server,
        world: World,
        folder: Path,
        seconds: float,
    ) -> None:
        self.ours = ours
        self.plain = plain
        self.empty = empty
        self.echo = echo
        self.world = world
        self.seconds = seconds
        self._cases = folder / "cases.jsonl"
        write_cases(world, self._cases)

    def round(self, kinds: Sequence[str], results: Results) -> None:
        """Run every case once: the driver and the two servers one after another."""
        write_cases(self.world, self._cases)
        results.around.append(in_process.measure())
        for kind in kinds:
            if kind == "fanout":
                self._fanout(results)
                continue
            for connections in CONNECTIONS:
                for server in (self.ours, self.plain) if kind in PLAIN else (self.ours,):
                    results.add(kind, connections, server.name, self._sample(server, kind, connections))
            if kind in driver.WORK:
                results.add(kind, AT, "driver", self._driver(kind))
            if kind == "todo":
                results.add(kind, AT, "empty", self._sample(self.empty, kind, AT))

    def idle(self, results: Results) -> None:
        """Measure thousands of idle sockets, once: memory does not vary between rounds."""
        results.idle["nomadcrew"] = uvloop.run(fanout.host_idle(self.ours, self.world))
        results.idle["echo"] = uvloop.run(fanout.echo_idle(self.echo))

    def _fanout(self, results: Results) -> None:
        for count in fanout.SOCKETS:
            print(".", end="", flush=True)
            ours = uvloop.run(fanout.host_fanout(self.ours, self.world, sockets=count, seconds=self.seconds))
            results.add("fanout", count, "nomadcrew", ours)
            echo = uvloop.run(fanout.echo_fanout(self.echo, sockets=count, seconds=self.seconds))
            results.add("fanout", count, "echo", echo)

    def check_alike(self) -> None:
        """Raises `CannotMeasure`: the servers' replies to the same request differ."""
        token, trip = json.loads(self._cases.read_text().splitlines()[7])[:2]
        for path in ("/v1/trips", f"/v1/trips/{trip}"):
            ours, plain = (_get(server, path, token) for server in (self.ours, self.plain))
            if ours != plain:
                raise CannotMeasure(f"The two servers answer {path} differently: {ours} and {plain}")

    def _sample(self, server: Server, kind: str, connections: int) -> Sample:
        print(".", end="", flush=True)
        if kind == "event":
            measuring = sockets.measure(server, self.world, crews=connections, seconds=self.seconds)
            return uvloop.run(measuring)
        return load(server, kind, self._cases, connections=connections, seconds=self.seconds)

    def _driver(self, kind: str) -> Sample:
        cases = [
            driver.Case(str(person.id), str(self.world.trips[person.crew][index % 10]), person.email)
            for index, person in enumerate(self.world.people)
        ]
        world = driver.argument(cases, self.world.connect)
        command = [sys.executable, "-m", "bench.driver", kind, str(AT), str(self.seconds), world]
        # The environment of this process has the paths.
        run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=machine.REPOSITORY)
        if run.returncode:
            raise CannotMeasure(f"The bare driver failed on {kind}: {run.stderr}")
        return Sample(**json.loads(run.stdout))


@contextlib.contextmanager
def servers(folder: Path, results: Results) -> Iterator[tuple[Server, Server, Server, Server, World]]:
    """NomadCrew on a new data folder, first at rest; then plain on its PostgreSQL, and two without a database."""
    with ExitStack() as stack:
        ours = stack.enter_context(machine.nomadcrew(folder / "home"))
        time.sleep(REST_S)
        results.rest_mib = machine.rss_mib(ours.pid)
        world = asyncio.run(fill(folder / "home"))
        environment = {
            "PLAIN_DATABASE_URL": sqlalchemy_url(world.connect),
            "PLAIN_SIGNING_KEY": str(world.signing_key),
            "PLAIN_ISSUER": DEFAULT_ISSUER,
        }
        plain = stack.enter_context(machine.plain(folder, environment))
        empty, echo = stack.enter_context(machine.empty(folder)), stack.enter_context(machine.echo(folder))
        yield ours, plain, empty, echo, world
        results.after_load_mib = machine.rss_mib(ours.pid)


def measure(kinds: Sequence[str], rounds: int, seconds: float) -> str:
    """Run all measurements; returns the report, which is also written to a file."""
    results = Results()
    began_s, busy_s = time.monotonic(), machine.busy_seconds()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=machine.scratch())))
        bench = Bench(*stack.enter_context(servers(folder, results)), folder, seconds)
        bench.check_alike()
        if "fanout" in kinds:
            bench.idle(results)
        for number in range(rounds):
            print(f"round {number + 1} of {rounds} ", end="", flush=True)
            bench.round(kinds, results)
            print(flush=True)
    took_s = time.monotonic() - began_s
    busy = (machine.busy_seconds() - busy_s) / took_s / (os.cpu_count() or 1)
    commit, now = machine.commit(), datetime.now(UTC)
    setup = (
        f"{machine.description()}. Medians of {rounds} interleaved rounds of {seconds:g} s each; the machine was "
        f"{busy:.0%} busy during the {took_s:.0f} s, with all of its processes."
    )
    heading = [f"# NomadCrew, measured {now:%Y-%m-%d %H:%M} UTC at {commit}", "", setup]
    text = report.text(results, heading)
    path = report.write(results, text, f"{now:%Y-%m-%d}-{commit}")
    return f"{text}\nWritten to {path}"


def _get(server: Server, path: str, token: str) -> Any:
    request = urllib.request.Request(server.url + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds over all cases")
    parser.add_argument("--seconds", type=int, default=3, help="duration of each case")
    parser.add_argument("--only", choices=NAMES, action="append", help="a kind of request to measure; repeatable")
    chosen = parser.parse_args()
    try:
        machine.require_linux()
        allow_open_files()
        require_wrk()
        print(measure(chosen.only or list(NAMES), chosen.rounds, chosen.seconds))
    except CannotMeasure as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
