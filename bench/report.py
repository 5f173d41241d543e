"""Turns samples into tables, ratios and verdicts."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from bench.fanout import SOCKETS, Idle
from bench.in_process import Around
from bench.kinds import READS, WRITES
from bench.load import Sample

RESULTS = Path(__file__).with_name("results")
NAMES = {
    "trips": "GET /v1/trips (10 × 5 members)",
    "trip": "GET /v1/trips/{id}",
    "notifications": "GET /v1/notifications (20)",
    "messages": "GET …/chat/messages (50)",
    "locations": "GET …/locations (5 members)",
    "polls": "GET …/polls (5 × 4 options, 5 votes)",
    "weather": "GET …/weather",
    "suggest": "GET /v1/places/suggest (4 letters)",
    "todo": "POST /v1/trips/{id}/todos",
    "chat": "POST …/chat/messages",
    "receipt": "PUT …/chat/messages/read",
    "reaction": "POST …/reactions",
    "vote": "POST …/polls/{id}/vote",
    "position": "POST …/locations",
    "positions": "POST …/locations:batch (50 positions)",
    "day": "a day: 80 % reads, 20 % writes, 200 sockets",
    "login": "POST /v1/auth/login",
    "event": "todo → 4 members' sockets",
    "fanout": "chat message → sockets",
}
MAX_SOCKETS = max(SOCKETS)
AT = 16  # connections for the budgets
Key = tuple[str, int, str]  # kind, connections, and one of nomadcrew, driver, plain, empty or echo


@dataclass(slots=True)
class Results:
    """All measurements of one run, by round."""

    samples: dict[Key, list[Sample]] = field(default_factory=dict)
    around: list[Around] = field(default_factory=list)
    idle: dict[str, Idle] = field(default_factory=dict)
    rest_mib: float = 0.0
    after_load_mib: float = 0.0
    starts_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, kind: str, connections: int, who: str, sample: Sample) -> None:
        self.samples.setdefault((kind, connections, who), []).append(sample)

    def median(self, kind: str, connections: int, who: str) -> Sample | None:
        """The median of each figure over the rounds; None if it was not measured."""
        rounds = self.samples.get((kind, connections, who))
        if not rounds:
            return None
        return Sample(*(statistics.median(getattr(s, f.name) for s in rounds) for f in fields(Sample)))

    def dispatch_us(self) -> float:
        return statistics.median(around.dispatch_us for around in self.around)

    def application_us(self) -> float:
        return statistics.median(around.application_us for around in self.around)


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit, and the measurement, if any."""

    label: str
    measured: float | None
    limit: float
    unit: str
    at_least: bool = False

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        passed = self.measured >= self.limit if self.at_least else self.measured <= self.limit
        return "ok" if passed else "OVER"

    def row(self) -> Sequence[str]:
        sign = "≥" if self.at_least else "≤"
        measured = "" if self.measured is None else f"{self.measured:.2f}{self.unit}"
        return self.label, measured, f"{sign} {self.limit:g}{self.unit}", self.verdict


def budgets(results: Results) -> list[Budget]:
    """The budgets with the measurements."""
    limits = dict.fromkeys(READS, 2.0) | dict.fromkeys(WRITES, 3.0)
    rows = [
        Budget(
            f"{NAMES[kind]}: CPU of the host to uvicorn's and the driver's",
            _of_least(results, kind, AT),
            limit,
            "×",
        )
        for kind, limit in limits.items()
    ]
    for count, limit in ((5, 10.0), (100, 5.0)):
        ours, echo = results.median("fanout", count, "nomadcrew"), results.median("fanout", count, "echo")
        late = ours.p50_ms / echo.p50_ms if ours and echo else None
        rows.append(
            Budget(f"a chat message to {count} sockets: p50 of a delivery to the bare echo's", late, limit, "×")
        )
    crowd = results.median("fanout", MAX_SOCKETS, "nomadcrew")
    late_ms = crowd.p99_ms if crowd else None
    rows.append(Budget(f"a chat message to {MAX_SOCKETS:,} sockets: p99 of a delivery", late_ms, 250, " ms"))
    around = results.dispatch_us() if results.around else None
    rows.append(Budget("dispatch, validation, encoding around a list of 10 trips, CPU", around, 60, " µs"))
    rows.append(Budget("memory of the host at rest, without PostgreSQL", results.rest_mib or None, 60, " MiB"))
    start_s = statistics.median(results.starts_s) if results.starts_s else None
    rows.append(Budget("start on existing data to the first list of trips", start_s, 1, " s"))
    return rows


def _of_least(results: Results, kind: str, connections: int) -> float | None:
    """The host's CPU as a multiple of the least: uvicorn with a reply of this size, and the bare driver.

    With more connections than the driver's, its figure is that of the budgets.
    """
    ours, empty = results.median(kind, connections, "nomadcrew"), results.median(kind, connections, "empty")
    driver = results.median(kind, min(connections, AT), "driver")
    return ours.cpu_us / (empty.cpu_us + driver.cpu_us) if ours and empty and driver else None


def text(results: Results, heading: Sequence[str]) -> str:
    """The report as Markdown; `heading` has the date, the commit and the machine."""
    parts = [*heading, *(f"\nFAILED {failure}" for failure in results.failures)]
    parts += ["", "## Budgets", "", table(("what", "measured", "budget", ""), _budget_rows(results))]
    requests = table(_REQUESTS, _request_rows(results))
    parts += ["", "## Requests and events", "", requests, "", *_notes(results)]
    if any(kind == "fanout" for kind, _, _ in results.samples):
        parts += ["", "## Fan-out", "", table(_FANOUT, _fanout_rows(results)), "", *_fanout_notes(results)]
    return "\n".join(parts) + "\n"


def write(results: Results, report: str, name: str) -> Path:
    """Write the report and the samples behind it; returns the report's path."""
    RESULTS.mkdir(exist_ok=True)
    rounds = [
        {"kind": kind, "connections": connections, "who": who, "rounds": [asdict(sample) for sample in samples]}
        for (kind, connections, who), samples in results.samples.items()
    ]
    data = {
        "samples": rounds,
        "around": [asdict(around) for around in results.around],
        "idle": {who: asdict(idle) for who, idle in results.idle.items()},
        "failures": results.failures,
        "starts_s": results.starts_s,
        "rest_mib": results.rest_mib,
        "after_load_mib": results.after_load_mib,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    path = RESULTS / f"{name}.md"
    path.write_text(report)
    return path


def _budget_rows(results: Results) -> Iterable[Sequence[str]]:
    return (budget.row() for budget in budgets(results))


_REQUESTS = (
    "request", "connections", "requests/s", "p50 ms", "p99 ms", "CPU µs", "PostgreSQL µs", "driver CPU µs",
    "driver PostgreSQL µs", "uvicorn CPU µs", "CPU × driver and uvicorn", "plain requests/s", "plain p50 ms",
    "plain CPU µs", "plain PostgreSQL µs", "requests/s × plain", "plain CPU ×",
)  # fmt: skip


def _request_rows(results: Results) -> Iterable[Sequence[str]]:
    for kind, name in NAMES.items():
        if kind == "fanout":
            continue
        for connections in sorted({key[1] for key in results.samples if key[0] == kind}):
            yield name, str(connections), *_figures(results, kind, connections)


def _figures(results: Results, kind: str, connections: int) -> Iterable[str]:
    ours, driver, empty, plain = (
        results.median(kind, connections, who) for who in ("nomadcrew", "driver", "empty", "plain")
    )
    assert ours is not None  # measured first
    yield from (f"{ours.per_s:,.0f}", f"{ours.p50_ms:.2f}", f"{ours.p99_ms:.2f}", f"{ours.cpu_us:,.0f}")
    yield f"{ours.postgres_us:,.0f}"
    yield from ("", "") if driver is None else (f"{driver.cpu_us:,.0f}", f"{driver.postgres_us:,.0f}")
    yield "" if empty is None else f"{empty.cpu_us:,.0f}"
    times = _of_least(results, kind, connections)
    yield "" if times is None else f"{times:.2f}×"
    if plain is None:  # a failed kind, or one that plain does not have
        yield from ("",) * 6
        return
    yield from (f"{plain.per_s:,.0f}", f"{plain.p50_ms:.2f}", f"{plain.cpu_us:,.0f}", f"{plain.postgres_us:,.0f}")
    yield from (f"{ours.per_s / plain.per_s:.1f}×", f"{plain.cpu_us / ours.cpu_us:.1f}×")


_FANOUT = (
    "sockets", "messages/s", "deliveries/s", "p50 ms", "p99 ms", "CPU µs", "echo/s", "echo p50 ms", "echo p99 ms",
    "echo CPU µs", "p50 × echo", "CPU × echo",
)  # fmt: skip


def _fanout_rows(results: Results) -> Iterable[Sequence[str]]:
    for count in sorted({key[1] for key in results.samples if key[0] == "fanout"}):
        ours, echo = results.median("fanout", count, "nomadcrew"), results.median("fanout", count, "echo")
        if ours is None or echo is None:  # a failed kind
            continue
        yield (
            f"{count:,}", f"{ours.per_s:,.0f}", f"{ours.per_s * count:,.0f}", f"{ours.p50_ms:.2f}",
            f"{ours.p99_ms:.2f}", f"{ours.cpu_us:,.0f}", f"{echo.per_s:,.0f}", f"{echo.p50_ms:.2f}",
            f"{echo.p99_ms:.2f}", f"{echo.cpu_us:,.0f}", f"{ours.p50_ms / echo.p50_ms:.1f}×",
            f"{ours.cpu_us / echo.cpu_us:.2f}×",
        )  # fmt: skip


def _fanout_notes(results: Results) -> list[str]:
    lines = [FANOUT_NOTES]
    for who, idle in results.idle.items():
        lines.append(
            f"{idle.sockets:,} idle sockets: {who} uses {idle.kib_each:.1f} KiB per socket, "
            f"{idle.rss_mib:.0f} MiB in total, and {idle.cpu_percent:.1f} % of a core."
        )
    return lines


FANOUT_NOTES = """\
One message after another, from the writer's request to the bytes at each of the other members' sockets; the next is
sent when all sockets have received it. Each socket receives the message and a notification; both are in the CPU,
and the first to arrive is in the latencies. The echo server forwards frames unchanged: no HTTP, no commit, no
permissions. It uses `websockets` as its manual shows it. All sockets belong to four users, those of 1,000 sockets
to fifty, and to one client process.
"""
NOTES = """\
CPU is user and system time per request: of the server's process, and of all processes of PostgreSQL. wrk and the
socket clients share the machine but are not included. The driver runs the route's statements with similar
parameters, those of one request at a time, with the same number of connections. uvicorn replies with as many bytes
as the route, without routing, database or log. Plain is bench/plain_fastapi.py: it stores no events, makes no
notifications and has no replay protection. Receipts and reactions change something in each request. An event's
figures are per event: one request, four deliveries; all of its clients are one Python process.
"""


def _notes(results: Results) -> list[str]:
    lines = [NOTES]
    if results.starts_s:
        shown = ", ".join(f"{start_s:.2f}" for start_s in results.starts_s)
        lines.append(f"Starts on the data of this run until the first list of trips: {shown} s.")
    if results.around:
        lines += [
            f"In process, a list of ten trips takes {results.dispatch_us():.1f} µs of dispatch and encoding, and",
            f"{results.application_us():.1f} µs with routing and ASGI. The host uses",
            f"{results.rest_mib:.0f} MiB at rest and {results.after_load_mib:.0f} MiB after the measurement.",
        ]
    return lines


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    grid = [head, *rows]
    widths = [max(len(row[column]) for row in grid) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in grid
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
