"""`make bench-data`: what the lists take with a hundred times the rows.

Two databases side by side on one throwaway PostgreSQL with its usual settings, on disk; the lists are asked of both
in turn, each time by somebody else.
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
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import uvloop

from bench import machine
from bench.data_fill import TRIPS, Size, fill
from bench.data_lists import LISTS, Crowd, List, Somebody
from bench.machine import CannotMeasure
from bench.report import RESULTS, table
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.migrations import migrate
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres

GROWTH = 1.5  # how much longer the 95th percentile may take
BYTES_PER_TRIP = 14_000  # with everything that belongs to it, indices and the log of its making included
RESERVE_BYTES = 5 * 10**9
PATIENCE_S = 40.0  # for one list; the few that are slow are asked less often
FEWEST = 40
BUFFERS = compile_statement("buffers", "SHOW shared_buffers")
BIG_TABLES = (
    "user_profiles",
    "trips",
    "trip_memberships",
    "location_sharing",
    "last_positions",
    "location_history_other",
    "trip_invitations",
    "todos",
    "notifications",
    "outbox",
)


@dataclass(slots=True)
class Filled:
    """A database of one size."""

    size: Size
    pool: Database
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Took:
    """Milliseconds a list took: 50th and 95th percentile."""

    p50: float
    p95: float

    def __str__(self) -> str:
        return f"{self.p50:.2f} / {self.p95:.2f}"


@dataclass(frozen=True, slots=True)
class Growth:
    """One list on the small and on the big database, there asked by as many people, and by all there are."""

    name: str
    small: Took
    as_many: Took
    all: Took
    scans: Sequence[str]
    plan: str

    @property
    def ratio(self) -> float:
        return self.as_many.p95 / self.small.p95

    def row(self) -> Sequence[str]:
        verdict = "ok" if self.ratio <= GROWTH else "OVER"
        scans = ", ".join(f"scans {name}" for name in self.scans)
        return self.name, str(self.small), str(self.as_many), f"{self.ratio:.2f}×", verdict, str(self.all), scans


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
    """Ask both databases in turn.

    On the big one by as many people as the small one has, whose pages have been read before, as those of people who
    come every day; and by all people alike, whose pages mostly have not: that tells how much memory is missing.
    """
    crowds = (Crowd(small.size), Crowd(big.size, every=big.size.trips // small.size.trips), Crowd(big.size))
    for crowd, here in zip(crowds[:2], (small, big), strict=True):
        await _warm_up(asked, crowd, here)
    took: tuple[list[float], ...] = ([], [], [])
    until_s = time.monotonic() + PATIENCE_S
    # Other people for each list: what one list has read would be at hand for the next.
    rng = random.Random(asked.name)
    for number in range(times):
        for crowd, here, ms in zip(crowds, (small, big, big), took, strict=True):
            ms.append(await _ask(asked, crowd.anybody(rng), rng, here))
        if time.monotonic() > until_s and number >= FEWEST:
            break
    plan = await _plan(asked, crowds[1].anybody(random.Random(0)), big)
    scans = [name for name in BIG_TABLES if re.search(rf"Seq Scan on {name}\b(?!.*never executed)", plan)]
    ones, as_many, everybody = map(_took, took)
    return Growth(asked.name, ones, as_many, everybody, scans, plan)


async def _warm_up(asked: List, crowd: Crowd, here: Filled) -> None:
    until_s = time.monotonic() + PATIENCE_S
    for number, who in enumerate(crowd.everybody()):
        await _ask(asked, who, random.Random(number), here)
        if time.monotonic() > until_s:
            return


async def _ask(asked: List, who: Somebody, rng: random.Random, here: Filled) -> float:
    """How many milliseconds the list took."""
    parameters = asked.parameters(who, rng, here.size)
    began_s = time.perf_counter()
    await here.pool.fetch(asked.statement, **parameters)
    return (time.perf_counter() - began_s) * 1000


async def _plan(asked: List, who: Somebody, here: Filled) -> str:
    """The plans with known and with unknown parameters; PostgreSQL takes the second once it is no dearer."""
    parameters = asked.parameters(who, random.Random(0), here.size)
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


def _took(ms: list[float]) -> Took:
    cuts = statistics.quantiles(ms, n=20)
    return Took(cuts[9], cuts[18])


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
            [row] = await small.pool.fetch(BUFFERS)
            for here in (small, big):
                await here.pool.close()
    _write(growths, small, big, fits, times, row["shared_buffers"])


def _write(growths: Sequence[Growth], small: Filled, big: Filled, scale: int, times: int, buffers: str) -> None:
    commit, now = machine.commit(), datetime.now(UTC)
    name = f"{now:%Y-%m-%d}-{commit}"
    made = ", ".join(f"{count:,} {what}" for what, count in big.size.rows.items())
    head = ("list", "1×: p50 / p95 ms", f"{scale}×, as many people", "p95 grows by", f"≤ {GROWTH}×",
            f"{scale}×, all people", "")  # fmt: skip
    text = (
        f"# Lists at {scale} times the data, measured {now:%Y-%m-%d %H:%M} UTC at {commit}\n\n"
        f"{machine.description()}. {made}: {big.bytes / 1e9:.1f} GB, made in {big.seconds:.0f} s, beside "
        f"{small.bytes / 1e6:.0f} MB. Up to {times:,} times each, shared_buffers {buffers}.\n\n"
        f"{table(head, [growth.row() for growth in growths])}\n"
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}-data.md").write_text(text)
    data = [{name: value for name, value in asdict(growth).items() if name != "plan"} for growth in growths]
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
