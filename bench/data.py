"""`make bench-data`: what the lists take with a hundred times the rows.

Two databases side by side on one throwaway PostgreSQL with its usual settings, on disk; the lists are asked of both
in turn, each time for somebody else.
"""

import argparse
import json
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from bench import machine
from bench.data_fill import TRIPS, Size, fill
from bench.data_lists import LISTS, List
from bench.machine import CannotMeasure
from bench.report import RESULTS, table
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.migrations import migrate
from nomadcrew.host.binaries import find_binaries
from nomadcrew.host.datafolder import DataFolder
from nomadcrew.host.postgres import EmbeddedPostgres

GROWTH = 1.5  # how much longer the 95th percentile may take
BYTES_PER_TRIP = 9_000  # with everything that belongs to it, indices and the log of its making included
RESERVE_BYTES = 5 * 10**9
WARM_UP = 300
BIG_TABLES = ("user_profiles", "trips", "trip_memberships", "trip_invitations", "todos", "notifications", "outbox")


@dataclass(slots=True)
class Filled:
    """A database of one size."""

    size: Size
    pool: Database
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Growth:
    """One list on the small and on the big database: 50th and 95th percentile in milliseconds, and the big plan."""

    name: str
    small_ms: tuple[float, float]
    big_ms: tuple[float, float]
    scans: Sequence[str]
    plan: str

    @property
    def ratio(self) -> float:
        return self.big_ms[1] / self.small_ms[1]

    def row(self) -> Sequence[str]:
        verdict = "ok" if self.ratio <= GROWTH else "OVER"
        small, big = (f"{ms[0]:.2f} / {ms[1]:.2f}" for ms in (self.small_ms, self.big_ms))
        return self.name, small, big, f"{self.ratio:.2f}×", verdict, ", ".join(self.scans)


@asynccontextmanager
async def throwaway(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """PostgreSQL as the host runs it, durable and all, in a folder that goes away."""
    home = DataFolder(folder / "home")
    binaries = find_binaries()
    home.open(binaries.major)
    with home.lock("bench"):
        postgres = EmbeddedPostgres(home, binaries)
        await postgres.start()
        try:
            yield postgres
        finally:
            await postgres.stop()


async def filled(postgres: EmbeddedPostgres, name: str, size: Size) -> Filled:
    """A migrated and filled database."""
    connect = {**postgres.connect_kwargs, "database": name}
    admin = await asyncpg.connect(**postgres.connect_kwargs)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    await admin.close()
    pool = Database(connect, size=2)
    await migrate(pool)
    connection = await asyncpg.connect(**connect, command_timeout=None)
    print(f"{name}: {size.trips:,} trips, {sum(size.rows.values()):,} rows in all", flush=True)
    seconds = await fill(connection, size, lambda line: print(f"  {line}", flush=True))
    size_bytes = await connection.fetchval("SELECT pg_database_size(current_database())")
    await connection.close()
    print(f"  {size_bytes / 1e9:.1f} GB after {seconds:.0f} s", flush=True)
    return Filled(size, pool, size_bytes, seconds)


def affordable(scale: int, seconds_once: float, minutes: float, folder: Path) -> int:
    """As much of `scale` as time and disk allow.

    Raises:
        CannotMeasure: the disk is too full for any of it.
    """
    free = shutil.disk_usage(folder).free - RESERVE_BYTES
    by_disk = int(free / (BYTES_PER_TRIP * TRIPS))
    if by_disk < 2:
        raise CannotMeasure(
            f"{folder} has too little room: the data take {BYTES_PER_TRIP * TRIPS / 1e9:.1f} GB a part."
        )
    by_time = int(minutes * 60 / seconds_once)
    return min(scale, by_disk, max(by_time, 2))


async def measure(asked: List, small: Filled, big: Filled, times: int) -> Growth:
    """Ask both databases in turn, each time for somebody else."""
    took: dict[int, list[float]] = {}
    for number in range(WARM_UP + times):
        for place, here in enumerate((small, big)):
            parameters = asked.parameters(random.Random(number), here.size)
            began_s = time.perf_counter()
            await here.pool.fetch(asked.statement, **parameters)
            if number >= WARM_UP:
                took.setdefault(place, []).append((time.perf_counter() - began_s) * 1000)
    plan = await _plan(asked, big)
    scans = [name for name in BIG_TABLES if re.search(rf"Seq Scan on {name}\b(?!.*never executed)", plan)]
    return Growth(
        asked.name, _percentiles(took[0]), _percentiles(took[1]), [f"scans {name}" for name in scans], plan
    )


async def _plan(asked: List, here: Filled) -> str:
    """The plans with known and with unknown parameters; PostgreSQL takes the second once it is no dearer."""
    parameters = asked.parameters(random.Random(1), here.size)
    given = ", ".join(_literal(parameters[name]) for name in asked.statement.params)
    parts = []
    async with here.pool.connection() as connection:
        await connection.execute(f"PREPARE asked AS {asked.statement.text}")
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"SET plan_cache_mode = {mode}")
            rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) EXECUTE asked ({given})")
            parts.append(f"-- {asked.name}, {mode}\n" + "\n".join(row[0] for row in rows))
        await connection.execute("RESET plan_cache_mode; DEALLOCATE asked")
    return "\n\n".join(parts)


def _literal(value: object) -> str:
    """A value as SQL; its type is that of the cast where it stands."""
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


def _percentiles(took_ms: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(took_ms, n=20)
    return cuts[9], cuts[18]


async def run(scale: int, minutes: float, times: int) -> None:
    with tempfile.TemporaryDirectory(prefix="data-", dir=machine.scratch()) as scratch:
        async with throwaway(Path(scratch)) as postgres:
            small = await filled(postgres, "small", Size(TRIPS))
            fits = affordable(scale, small.seconds, minutes, Path(scratch))
            if fits < scale:
                print(f"{minutes:g} minutes and the disk allow {fits} times the data, not {scale}.")
            big = await filled(postgres, "big", Size(TRIPS * fits))
            growths = []
            for asked in LISTS:
                growths.append(await measure(asked, small, big, times))
                print(f"  {asked.name}: {growths[-1].ratio:.2f}×", flush=True)
            for here in (small, big):
                await here.pool.close()
    _write(growths, small, big, fits, times)


def _write(growths: Sequence[Growth], small: Filled, big: Filled, scale: int, times: int) -> None:
    commit, now = machine.commit(), datetime.now(UTC)
    name = f"{now:%Y-%m-%d}-{commit}"
    made = ", ".join(f"{count:,} {what}" for what, count in big.size.rows.items())
    head = ("list", f"1×: p50 / p95 ms of {times}", f"{scale}×: p50 / p95 ms", "p95 grows by", f"≤ {GROWTH}×", "")
    text = (
        f"# Lists at {scale} times the data, measured {now:%Y-%m-%d %H:%M} UTC at {commit}\n\n"
        f"{machine.description()}. {made}: {big.bytes / 1e9:.1f} GB, made in {big.seconds:.0f} s, beside "
        f"{small.bytes / 1e6:.0f} MB.\n\n{table(head, [growth.row() for growth in growths])}\n"
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}-data.md").write_text(text)
    data: list[dict[str, Any]] = [
        {"list": g.name, "small_ms": g.small_ms, "big_ms": g.big_ms, "scans": list(g.scans)} for g in growths
    ]
    (RESULTS / f"{name}-data.json").write_text(json.dumps(data, indent=1) + "\n")
    (RESULTS / f"plans-{name}.txt").write_text("\n\n\n".join(growth.plan for growth in growths) + "\n")
    print(f"\n{text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=int, default=100, help="how many times the data of 20,000 trips")
    parser.add_argument("--minutes", type=float, default=10, help="how long filling may take, about")
    parser.add_argument("--times", type=int, default=1000, help="how often each list is asked for")
    chosen = parser.parse_args()
    try:
        uvloop.run(run(chosen.scale, chosen.minutes, chosen.times))
    except CannotMeasure as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
