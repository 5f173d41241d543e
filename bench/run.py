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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import uvloop

from bench import driver, fanout, in_process, machine, report, requests, sockets, starts, wrk
from bench.kinds import READS, TEMPLATES, WITHOUT_PLAIN, weights
from bench.load import Sample, load
from bench.machine import CannotMeasure, Server
from bench.report import AT, NAMES, Results
from bench.world import TRIPS, World, fill, sqlalchemy_url
from bench.wrk import require_wrk
from nomadcrew.hosts.machine.open_files import allow_open_files
from nomadcrew.hosts.machine.ports import DEFAULT_ISSUER
from tests.open_meteo import open_meteo

CONNECTIONS = (1, AT, 64)
DRIVER_CONNECTIONS = 16  # the database accepts forty, shared with both servers
REST_S = 2.0
PLACES_WITHIN_S = 60.0
STARTS = 5
# Hashing a password takes nearly all of a login's time: one round is enough, of many seconds.
LOGIN_S = 4.0


class Bench:
    """Both servers on one database, two servers without a database, and the measurements on them."""

    def __init__(
        self, ours: Server, plain: Server, empty: Server, echo: Server, world: World, folder: Path, seconds: float
    ) -> None:
        self.ours = ours
        self.plain = plain
        self.empty = empty
        self.echo = echo
        self.world = world
        self.folder = folder
        self.seconds = seconds
        assert ours.postgres_pid is not None
        self._driver_input = driver.stdin(_cases(world), world.connect, ours.postgres_pid)

    def round(self, kinds: Sequence[str], number: int, results: Results) -> None:
        """Run every case once: the driver and the servers one after another.

        After the first round, only the connections of the budgets.
        """
        people = asyncio.run(self.world.people_and_trips())
        results.around.append(in_process.measure())
        for kind in kinds:
            if number and kind == "login":
                continue
            try:
                if kind in ("day", *TEMPLATES):
                    templates = {name: TEMPLATES[name] for name in weights(kind)}
                    wrk.write(requests.schedule(templates, weights(kind), people), self._file)
                if kind == "fanout":
                    self._fanout(results)
                    continue
                for connections in (AT,) if number else CONNECTIONS:
                    self._case(kind, connections, results)
            except CannotMeasure as reason:
                results.failures.append(f"{NAMES[kind]}: {reason}")

    @property
    def _file(self) -> Path:
        return self.folder / "requests.lua"

    def _case(self, kind: str, connections: int, results: Results) -> None:
        for server in (self.ours,) if kind in WITHOUT_PLAIN else (self.ours, self.plain):
            asyncio.run(self.world.unread())
            results.add(kind, connections, server.name, self._sample(server, kind, connections))
        if kind == "event":
            return
        if connections <= DRIVER_CONNECTIONS:
            asyncio.run(self.world.unread())
            results.add(kind, connections, "driver", self._driver(kind, connections))
        results.add(kind, connections, "empty", self._sample(self.empty, kind, connections))

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

    def _sample(self, server: Server, kind: str, connections: int) -> Sample:
        print(".", end="", flush=True)
        if kind == "event":
            return uvloop.run(sockets.measure(server, self.world, crews=connections, seconds=self.seconds))
        seconds = max(self.seconds, LOGIN_S) if kind == "login" else self.seconds
        run = partial(load, server, self._file, connections=connections, seconds=seconds)
        if kind == "day" and server is not self.empty:
            return uvloop.run(sockets.with_open_sockets(server, self.world, run))
        return run()

    def _driver(self, kind: str, connections: int) -> Sample:
        command = [sys.executable, "-m", "bench.driver", kind, str(connections), str(self.seconds)]
        # The environment of this process has the paths.
        run = subprocess.run(
            command, input=self._driver_input, capture_output=True, text=True, check=False, cwd=machine.REPOSITORY
        )
        if run.returncode:
            raise CannotMeasure(f"The bare driver failed on {kind}: {run.stderr}")
        return Sample(**json.loads(run.stdout))


def _cases(world: World) -> list[driver.Case]:
    """Every user on each of the user's trips."""
    return [
        driver.Case(
            str(person.id),
            str(trip),
            person.email,
            tuple(map(str, world.messages[trip])),
            str(world.polls[trip].id),
            tuple(map(str, world.polls[trip].options)),
        )
        for number in range(TRIPS)
        for person in world.people
        for trip in [world.trips[person.crew][number]]
    ]


@contextlib.contextmanager
def servers(folder: Path, results: Results) -> Iterator[tuple[Server, Server, Server, Server, World]]:
    """NomadCrew on a new data folder, first at rest; then plain on its PostgreSQL, and two without a database.

    Raises:
        CannotMeasure: NomadCrew and plain answer a request differently.
    """
    with ExitStack() as stack:
        weather = stack.enter_context(open_meteo())
        settings = {"NOMADCREW_WEATHER_URL": weather.url}
        ours = stack.enter_context(machine.nomadcrew(folder / "home", settings))
        time.sleep(REST_S)
        results.rest_mib = machine.rss_mib(ours.pid)
        world = asyncio.run(fill(folder / "home"))
        environment = {
            "PLAIN_DATABASE_URL": sqlalchemy_url(world.connect),
            "PLAIN_SIGNING_KEY": str(world.signing_key),
            "PLAIN_ISSUER": DEFAULT_ISSUER,
        }
        plain = stack.enter_context(machine.plain(folder, environment, ours.postgres_pid))
        _await_places(ours, world)
        sizes = json.dumps(_reply_sizes(ours, plain, world))
        empty = stack.enter_context(machine.empty(folder, {"EMPTY_SIZES": sizes}))
        echo = stack.enter_context(machine.echo(folder))
        yield ours, plain, empty, echo, world
        results.after_load_mib = machine.rss_mib(ours.pid)


def _await_places(ours: Server, world: World) -> None:
    """Wait until a new server has loaded its list of places.

    Raises:
        CannotMeasure: it takes too long.
    """
    people = asyncio.run(world.people_and_trips())
    asked = requests.first(requests.schedule({"suggest": TEMPLATES["suggest"]}, {"suggest": 1}, people)[0], 0, 0)
    deadline_s = time.monotonic() + PLACES_WITHIN_S
    while machine.send(ours.url, asked)[0] != 200:
        if time.monotonic() > deadline_s:
            raise CannotMeasure(f"After {PLACES_WITHIN_S:g} s the server has no places.")
        time.sleep(0.5)


def _reply_sizes(ours: Server, plain: Server, world: World) -> dict[str, int]:
    """The bytes of our replies for `bench.empty`, after plain's were compared with them."""
    people = asyncio.run(world.people_and_trips())
    sizes = {}
    for name, template in TEMPLATES.items():
        asyncio.run(world.unread())
        request = requests.schedule({name: template}, {name: 1}, people)[0]
        replies = []
        for number, server in enumerate((ours,) if name in WITHOUT_PLAIN else (ours, plain)):
            sent = requests.first(request, number, int(time.time() * 1000))
            replies.append(machine.send(server.url, sent))
        (status, body), (plain_status, plain_body) = replies[0], replies[-1]
        if status >= 300 or status != plain_status:
            raise CannotMeasure(f"{name} is answered {status} and by plain {plain_status}: {body!r} {plain_body!r}")
        if name in READS and json.loads(body) != json.loads(plain_body):
            raise CannotMeasure(f"The two servers answer {name} differently: {body!r} {plain_body!r}")
        last = template.path.partition("?")[0].rpartition("/")[2]
        sizes[template.method if last == "{trip}" else f"{template.method} {last}"] = len(body)
    return sizes


def _starts(home: Path, world: World) -> list[float]:
    """Seconds of starts on the data of the whole measurement."""
    token = asyncio.run(world.people_and_trips())[0].token
    return [starts.start_s(home, "/v1/trips", token) for _ in range(STARTS)]


def measure(kinds: Sequence[str], rounds: int, seconds: float) -> Results:
    """Run all measurements; prints the report and writes it to a file."""
    results = Results()
    began_s, busy_s = time.monotonic(), machine.busy_seconds()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=machine.scratch())))
        with servers(folder, results) as (ours, plain, empty, echo, world):
            bench = Bench(ours, plain, empty, echo, world, folder, seconds)
            if "fanout" in kinds:
                bench.idle(results)
            for number in range(rounds):
                print(f"round {number + 1} of {rounds} ", end="", flush=True)
                bench.round(kinds, number, results)
                print(flush=True)
        results.starts_s = _starts(folder / "home", world)
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
    print(f"{text}\nWritten to {path}")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds over all cases")
    parser.add_argument("--seconds", type=int, default=2, help="duration of each case")
    parser.add_argument("--only", choices=NAMES, action="append", help="a kind of request to measure; repeatable")
    chosen = parser.parse_args()
    try:
        machine.require_linux()
        allow_open_files()
        require_wrk()
        results = measure(chosen.only or list(NAMES), chosen.rounds, chosen.seconds)
        sys.exit(1 if results.failures else 0)
    except CannotMeasure as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
