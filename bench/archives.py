"""`python -m bench.archives`: the export of a trip with 10,000 messages, and its import, beside zipfile alone."""

import argparse
import asyncio
import io
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import UUID

import asyncpg

from bench import machine
from bench.machine import CannotMeasure, Server
from bench.prepare import new_trip, register
from bench.report import table
from bench.world import connect_kwargs
from nomadcrew.cli.client import ApiClient
from nomadcrew.core.ids import uuid7

MESSAGES = 10_000
TEXT = "on my way: the train is late again, so begin without me, number {number}"


@dataclass(frozen=True, slots=True)
class Cost:
    seconds: float
    cpu_s: float


async def fill(home: Path, trip: UUID, author: UUID) -> None:
    """Give a trip its messages."""
    now = datetime.now(UTC)
    connection = await asyncpg.connect(**await connect_kwargs(home))
    try:
        await connection.copy_records_to_table(
            "chat_messages",
            columns=("id", "trip_id", "seq", "user_id", "body", "folded", "event_id", "created_at"),
            records=[
                (uuid7(), trip, number, author, text, text, uuid7(), now - timedelta(seconds=MESSAGES - number))
                for number in range(1, MESSAGES + 1)
                for text in [TEXT.format(number=number)]
            ],
        )
        await connection.execute(
            "INSERT INTO chat_threads (trip_id, last_seq, last_at) VALUES ($1, $2, $3)", trip, MESSAGES, now
        )
    finally:
        await connection.close()


def asked(
    server: Server, member: ApiClient, method: str, path: str, body: bytes | None = None
) -> tuple[bytes, Cost]:
    """A request, and its cost for the server and its PostgreSQL."""
    headers = {"authorization": f"Bearer {member.token}", "content-type": "application/zip"}
    before_s, began_s = server.cpu_seconds() + server.postgres_seconds(), time.perf_counter()
    with urlopen(Request(server.url + path, body, headers, method=method)) as reply:
        content: bytes = reply.read()
    took_s = time.perf_counter() - began_s
    return content, Cost(took_s, server.cpu_seconds() + server.postgres_seconds() - before_s)


def zipped(archive: bytes) -> float:
    """CPU of zipfile for the same entries."""
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    before_s = time.process_time()
    with zipfile.ZipFile(io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in entries.items():
            target.writestr(name, content)
    return time.process_time() - before_s


def unique(archive: bytes, number: int) -> bytes:
    """The archive with another digest, so that its import is a new trip."""
    target = io.BytesIO(archive)
    with zipfile.ZipFile(target, "a") as more:
        more.writestr(f"copy-{number}.txt", "")
    return target.getvalue()


def measure(rounds: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="archives-", dir=machine.scratch()) as name,
        machine.nomadcrew(Path(name, "home")) as server,
    ):
        member = register(server.url, "ana")
        trip = UUID(new_trip(member, 0)["id"])
        asyncio.run(fill(Path(name, "home"), trip, UUID(member.get("/v1/users/me")["id"])))
        path, exports, imports, alone = f"/v1/trips/{trip}/export", [], [], []
        for number in range(rounds):
            archive, cost = asked(server, member, "GET", path)
            exports.append(cost)
            alone.append(zipped(archive))
            imports.append(asked(server, member, "POST", "/v1/trips:import", unique(archive, number))[1])
    _report(exports, imports, statistics.median(alone), len(archive))


def _report(exports: Sequence[Cost], imports: Sequence[Cost], alone_s: float, size_bytes: int) -> None:
    def median(costs: Sequence[Cost], of: Callable[[Cost], float]) -> float:
        return statistics.median(map(of, costs))

    rows = [
        (
            name,
            f"{median(costs, lambda cost: cost.seconds):.2f}",
            f"{median(costs, lambda cost: cost.cpu_s):.2f}",
            f"{alone_s:.2f}",
            f"{median(costs, lambda cost: cost.cpu_s) / alone_s:.1f}×",
        )
        for name, costs in (("export", exports), ("import", imports))
    ]
    print(f"{MESSAGES:,} messages, an archive of {size_bytes >> 10:,} KiB.")
    print(table(("archive", "s", "CPU s, with PostgreSQL", "zipfile alone CPU s", "CPU × zipfile"), rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    try:
        machine.require_linux()
        measure(chosen.rounds)
    except CannotMeasure as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
