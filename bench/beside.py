"""Compares two servers under the same load: rates, latencies, CPU of the servers and of PostgreSQL.

Each load runs on both in turn, A B B A, so that a steady drift of the machine cancels; ratios are B ÷ A.

\b
  python -m bench.beside --prepare http://127.0.0.1:8081 --prepare http://127.0.0.1:8082 > shape.json
  python -m bench.beside --as shape.json --url http://127.0.0.1:8081 --url http://127.0.0.1:8082 \\
    --pid 4711 --pid 4712 --postgres-pid 4720 --postgres-pid 4730
"""

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median

import msgspec

from bench import machine, prepare, requests, wrk
from bench.load import settle
from bench.machine import CannotMeasure
from bench.report import table
from bench.requests import BadTemplate, Person, Template
from bench.shape import BadShape, Difference, KindOfRequest, Shape, Side, User, read

TIMEOUT_S = 30
TOKEN_USED_S = 300  # tokens may be as short-lived as fifteen minutes
FIGURES = {
    "per_s": "requests/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "cpu_us": "CPU µs",
    "postgres_us": "PostgreSQL CPU µs", "reply_bytes": "reply bytes",
}  # fmt: skip


@dataclass(slots=True)
class Target:
    """One of the servers. CPU is counted of `pids`, with all their children if `children`, and of PostgreSQL."""

    name: str
    url: str
    side: Side
    pids: Sequence[int]
    children: bool
    postgres: Sequence[int]
    people: list[Person] = field(default_factory=list)
    signed_in_s: float = -TOKEN_USED_S

    def cpu_seconds(self) -> float:
        if not self.children:
            return sum(map(machine.cpu_seconds, self.pids))
        return sum(machine.tree_cpu_seconds(pid, without={*self.postgres, *self.pids}) for pid in self.pids)

    def postgres_seconds(self) -> float:
        return sum(map(machine.tree_cpu_seconds, self.postgres))

    def sign_in(self) -> None:
        """New tokens for users with a password, if theirs are old.

        Raises:
            CannotMeasure: the server refuses a user.
        """
        if time.monotonic() - self.signed_in_s < TOKEN_USED_S:
            return
        self.people = [Person(user.token or _token(self, user), user.trips) for user in self.side.users]
        self.signed_in_s = time.monotonic()


@dataclass(frozen=True, slots=True)
class Run:
    """One run; CPU in microseconds per request; None if PostgreSQL's process is not known."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    postgres_us: float | None
    reply_bytes: float


@dataclass(slots=True)
class Row:
    """A load's runs on each server, by round; or the reason for its failure."""

    name: str
    connections: int
    rounds: list[dict[str, list[Run]]] = field(default_factory=list)
    failure: str | None = None


def compare(shape: Shape, targets: Sequence[Target], folder: Path) -> list[Row]:
    """Measure all rows; one that fails is not repeated."""
    rows = [Row(name, connections) for name in shape.rows for connections in shape.connections]
    for number in range(shape.rounds):
        print(f"round {number + 1} of {shape.rounds} ", end="", file=sys.stderr, flush=True)
        for name in shape.rows:
            loads = [row for row in rows if row.name == name and row.failure is None]
            if not loads:
                continue
            files = {}
            try:
                for target in targets:
                    files[target.name] = _requests(shape, name, target, folder, warm_up=not number)
            except CannotMeasure as reason:
                for row in loads:
                    row.failure = str(reason)
            for row in loads:
                _round(row, shape, targets, files)
        print(file=sys.stderr, flush=True)
    return rows


def _round(row: Row, shape: Shape, targets: Sequence[Target], files: dict[str, Path]) -> None:
    runs: dict[str, list[Run]] = {target.name: [] for target in targets}
    for letter in shape.order if row.failure is None else "":
        target = next(target for target in targets if target.name == letter)
        print(".", end="", file=sys.stderr, flush=True)
        try:
            runs[letter].append(_run(target, files[letter], row.connections, shape.seconds))
        except CannotMeasure as reason:
            row.failure = f"{letter}: {reason}"
            return
    row.rounds.append(runs)


def _run(target: Target, file: Path, connections: int, seconds: float) -> Run:
    cpu_s, postgres_s = target.cpu_seconds(), target.postgres_seconds()
    load = wrk.run(target.url, file, connections=connections, seconds=seconds)
    _settle(target)  # work after the reply belongs to the request that caused it
    cpu_us = (target.cpu_seconds() - cpu_s) / load.requests * 1e6
    postgres_us = (target.postgres_seconds() - postgres_s) / load.requests * 1e6
    return Run(
        load.per_s, load.p50_ms, load.p99_ms, cpu_us,
        postgres_us if target.postgres else None, load.reply_bytes,
    )  # fmt: skip


def _settle(target: Target) -> None:
    settle(target.url, lambda: target.cpu_seconds() + target.postgres_seconds())


def _requests(shape: Shape, row: str, target: Target, folder: Path, *, warm_up: bool) -> Path:
    """The file of a row's requests for a server, after each kind was answered with success.

    Raises:
        CannotMeasure: a request is refused.
    """
    target.sign_in()
    weights = shape.rows[row]
    templates = {name: _template(shape.kinds[name], target.name) for name in weights}
    file = folder / f"{target.name}.lua"
    try:
        for name, template in templates.items():
            _check(target, name, requests.schedule({name: template}, {name: 1}, target.people)[0])
        wrk.write(requests.schedule(templates, weights, target.people), file)
        if warm_up and shape.warm_up_seconds:
            wrk.run(target.url, file, connections=max(shape.connections), seconds=shape.warm_up_seconds)
        _settle(target)
    except (BadTemplate, CannotMeasure) as reason:
        raise CannotMeasure(f"{target.name}: {reason}") from None
    return file


def _template(kind: KindOfRequest, name: str) -> Template:
    other = (kind.a if name == "A" else kind.b) or Difference()
    body = kind.body if other.body is None else other.body
    return Template(other.method or kind.method, other.path or kind.path, body)


def _check(target: Target, kind: str, request: requests.Request) -> None:
    """Send a request once: wrk shows no reply, so the reason of a refusal is read here."""
    sent = requests.first(request, time.time_ns() % 10**13, int(time.time() * 1000))
    status, body = machine.send(target.url, sent)
    if not 200 <= status < 300:
        raise CannotMeasure(f"{kind} is answered {status}: {body[:300].decode(errors='replace')}")


def _token(target: Target, user: User) -> str:
    body = json.dumps({"email": user.email, "password": user.password}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{target.url}/v1/auth/login", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
            return str(json.load(reply)["access_token"])
    except (OSError, ValueError, KeyError) as reason:
        raise CannotMeasure(f"{user.email} cannot sign in: {reason}") from None


def report(rows: Sequence[Row]) -> str:
    """A Markdown table: per figure `A → B`, the median ratio of the rounds and its range; failures after it."""
    whole = [row for row in rows if row.failure is None]
    lines = [(row.name, str(row.connections), *(_cell(row, name) for name in FIGURES)) for row in whole]
    failed = [f"FAILED {row.name} at {row.connections} connections: {row.failure}" for row in rows if row.failure]
    return "\n".join([table(("row", "connections", *FIGURES.values()), lines), *failed])


def _cell(row: Row, name: str) -> str:
    pairs = []
    for runs in row.rounds:
        values = [[getattr(run, name) for run in runs[letter]] for letter in "AB"]
        if any(value is None for side in values for value in side):
            return "–"
        pairs.append((fmean(values[0]), fmean(values[1])))
    a, b = (median(pair[index] for pair in pairs) for index in (0, 1))
    # A tick of CPU time can be longer than a short run's work.
    ratios = [second / first for first, second in pairs if first]
    ratio = f" ×{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if len(ratios) == len(pairs) else ""
    return f"{_shown(a)} → {_shown(b)}{ratio}"


def _shown(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}"


def _targets(chosen: argparse.Namespace, shape: Shape) -> list[Target]:
    pids, postgres = chosen.pid, chosen.postgres_pid
    if len(chosen.url) != 2 or len(pids) != 2 or len(postgres) > 2:
        raise CannotMeasure("Give --url and --pid twice, for A and for B, and --postgres-pid at most twice.")
    return [
        Target(name, url.rstrip("/"), side, pids[index], chosen.children, postgres[-1:] if index else postgres[:1])
        for index, (name, url, side) in enumerate(zip("AB", chosen.url, (shape.a, shape.b), strict=True))
    ]


def _measure(chosen: argparse.Namespace) -> bool:
    """Print the table and write the runs; False if a row failed."""
    if chosen.shape is None:
        raise CannotMeasure("Give a shape: --as SHAPE. --prepare URL prints one.")
    shape = read(chosen.shape.read_bytes())
    targets = _targets(chosen, shape)
    began_s, busy_s = time.monotonic(), machine.busy_seconds()
    with tempfile.TemporaryDirectory(prefix="beside-") as folder:
        rows = compare(shape, targets, Path(folder))
    took_s = time.monotonic() - began_s
    busy = (machine.busy_seconds() - busy_s) / took_s / (os.cpu_count() or 1)
    now = datetime.now(UTC)
    about = {
        "at": now.isoformat(), "machine": machine.description(), "busy": busy, "took_s": took_s,
        "A": targets[0].url, "B": targets[1].url, "order": shape.order, "seconds": shape.seconds,
    }  # fmt: skip
    path = chosen.json or machine.REPOSITORY / "build" / f"beside-{now:%Y%m%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    print(
        f"A {about['A']}, B {about['B']}: A → B ×ratio (range). Medians of {shape.rounds} rounds {shape.order} of "
        f"{shape.seconds} s; {machine.description()}, {busy:.0%} busy for {took_s:.0f} s. Runs: {path}\n"
    )
    print(report(rows))
    return not any(row.failure for row in rows)


def _pids(text: str) -> list[int]:
    return [int(pid) for pid in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.beside",
        description=str(__doc__).replace("\b\n", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--as", dest="shape", type=Path, metavar="SHAPE", help="the load; see bench/shapes")
    parser.add_argument("--url", action="append", default=[], help="URL of A, then of B")
    parser.add_argument(
        "--pid", type=_pids, action="append", default=[], metavar="PID[,PID…]", help="processes of A, then of B"
    )
    parser.add_argument("--children", action="store_true", help="count the children of these processes, too")
    parser.add_argument(
        "--postgres-pid", type=int, action="append", default=[], metavar="PID",
        help="the postmaster of both, or of A, then of B; all of its processes are counted",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the runs; default: build/beside-*.json")
    parser.add_argument(
        "--prepare", action="append", metavar="URL",
        help="instead, fill this new NomadCrew server and print a shape; twice for A and B",
    )  # fmt: skip
    return parser


def main() -> None:
    chosen = _parser().parse_args()
    try:
        machine.require_linux()
        if chosen.prepare:
            print(json.dumps(json.loads(msgspec.json.encode(prepare.shape(chosen.prepare[:2]))), indent=1))
            return
        wrk.require_wrk()
        sys.exit(0 if _measure(chosen) else 1)
    except (BadShape, CannotMeasure, OSError) as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
