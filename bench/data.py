"""`make bench-data`: the time of the lists with a hundred times the rows.

Two databases on one temporary PostgreSQL with its usual settings, on disk; each list is queried on both in turn,
each time by another user.
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
from bench.data_lists import LISTS, Crowd, List, Traveller
from bench.machine import CannotMeasure
from bench.report import RESULTS, table
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.migrations import migrate
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres

GROWTH = 1.5  # maximum growth of the 95th percentile
BYTES_PER_TRIP = 23_000  # with all of its data, indexes and the WAL of creating it
RESERVE_BYTES = 5 * 10**9
PATIENCE_S = 40.0  # per list; slow lists are queried less often
FEWEST = 40
BUFFERS = compile_statement("buffers", "SHOW shared_buffers")
BIG_TABLES = (
    "user_profiles",
    "trips",
    "trip_cards",
    "trip_memberships",
    "location_sharing",
    "last_positions",
    "location_history_other",
    "trip_invitations",
    "todos",
    "polls",
    "poll_options",
    "poll_votes",
    "documents",
    "pictures",
    "chat_messages",
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
    """Duration of a list in milliseconds: 50th and 95th percentile."""

    p50: float
    p95: float

    def __str__(self) -> str:
        return f"{self.p50:.2f} / {self.p95:.2f}"


@dataclass(frozen=True, slots=True)
class Growth:
    """One list on the small database, and on the big one, by as many users and by all of its users."""

    name: str
    small: Took
    same_users: Took
    all: Took
    scans: Sequence[str]
    plan: str

    @property
    def ratio(self) -> float:
        return self.same_users.p95 / self.small.p95

    def row(self) -> Sequence[str]:
        verdict = "ok" if self.ratio <= GROWTH else "OVER"
        scans = ", ".join(f"scans {name}" for name in self.scans)
        return self.name, str(self.small), str(self.same_users), f"{self.ratio:.2f}×", verdict, str(self.all), scans


@asynccontextmanager
async def throwaway(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A durable PostgreSQL as the host runs it, in a temporary folder."""
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
    """The largest scale, up to `scale`, that time and disk allow.

    Raises:
        CannotMeasure: the disk has no room for twice the data.
    """
    free = shutil.disk_usage(folder).free - RESERVE_BYTES
    by_disk = int(free / (BYTES_PER_TRIP * TRIPS))
    if by_disk < 2:
        raise CannotMeasure(
            f"{folder} has too little free space: each scale step needs {BYTES_PER_TRIP * TRIPS / 1e9:.1f} GB."
        )
    by_time = int(minutes * 60 / seconds_once)
    return min(scale, by_disk, max(by_time, 2))


async def measure(query: List, small: Filled, big: Filled, times: int) -> Growth:
    """Query both databases in turn.

    The big one is queried by as many users as the small one has, whose pages were read before, like those of daily
    users; and by all of its users, most of whose pages were not: this shows how much memory is missing.
    """
    crowds = (Crowd(small.size), Crowd(big.size, every=big.size.trips // small.size.trips), Crowd(big.size))
    for crowd, target in zip(crowds[:2], (small, big), strict=True):
        await _warm_up(query, crowd, target)
    took: tuple[list[float], ...] = ([], [], [])
    until_s = time.monotonic() + PATIENCE_S
    # Different users for each list: pages that one list has read would speed up the next.
    rng = random.Random(query.name)
    for number in range(times):
        for crowd, target, ms in zip(crowds, (small, big, big), took, strict=True):
            ms.append(await _ask(query, crowd.random_member(rng), rng, target))
        if time.monotonic() > until_s and number >= FEWEST:
            break
    plan = await _plan(query, crowds[1].random_member(random.Random(0)), big)
    scans = [name for name in BIG_TABLES if re.search(rf"Seq Scan on {name}\b(?!.*never executed)", plan)]
    on_small, same_users, all_users = map(_took, took)
    return Growth(query.name, on_small, same_users, all_users, scans, plan)


async def _warm_up(query: List, crowd: Crowd, target: Filled) -> None:
    until_s = time.monotonic() + PATIENCE_S
    for number, traveller in enumerate(crowd.members()):
        await _ask(query, traveller, random.Random(number), target)
        if time.monotonic() > until_s:
            return


async def _ask(query: List, traveller: Traveller, rng: random.Random, target: Filled) -> float:
    """The duration of the list in milliseconds."""
    parameters = query.parameters(traveller, rng, target.size)
    began_s = time.perf_counter()
    await target.pool.fetch(query.statement, **parameters)
    return (time.perf_counter() - began_s) * 1000


async def _plan(query: List, traveller: Traveller, target: Filled) -> str:
    """The custom and the generic plan; PostgreSQL uses the generic one if it is not more expensive."""
    parameters = query.parameters(traveller, random.Random(0), target.size)
    given = ", ".join(_literal(parameters[name]) for name in query.statement.params)
    parts = []
    async with target.pool.connection() as connection:
        await connection.execute(f"PREPARE asked AS {query.statement.text}")
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"SET plan_cache_mode = {mode}")
            rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) EXECUTE asked ({given})")
            parts.append(f"-- {query.name}, {mode}\n" + "\n".join(row[0] for row in rows))
        await connection.execute("RESET plan_cache_mode; DEALLOCATE asked")
    return "\n\n".join(parts)


def _literal(value: object) -> str:
    """A value as an SQL literal; the statement casts it."""
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
            for query in LISTS:
                growths.append(await measure(query, small, big, times))
                print(f"  {query.name}: {growths[-1].ratio:.2f}×", flush=True)
            [row] = await small.pool.fetch(BUFFERS)
            for database in (small, big):
                await database.pool.close()
    _write(growths, small, big, fits, times, row["shared_buffers"])


def _write(growths: Sequence[Growth], small: Filled, big: Filled, scale: int, times: int, buffers: str) -> None:
    commit, now = machine.commit(), datetime.now(UTC)
    name = f"{now:%Y-%m-%d}-{commit}"
    made = ", ".join(f"{count:,} {table_name}" for table_name, count in big.size.rows.items())
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
    parser.add_argument("--minutes", type=float, default=10, help="approximate limit of the time for filling")
    parser.add_argument("--times", type=int, default=1000, help="number of queries per list")
    chosen = parser.parse_args()
    try:
        uvloop.run(run(chosen.scale, chosen.minutes, chosen.times))
    except CannotMeasure as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
