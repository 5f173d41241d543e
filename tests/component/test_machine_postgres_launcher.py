"""The launcher of PostgreSQL, with a real PostgreSQL: crashes, takeovers and refusals."""

import asyncio
import logging
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.hosts.machine.postgres.binaries import Binaries, find_binaries
from nomadcrew.hosts.machine.postgres.cluster import SOCKET
from nomadcrew.hosts.machine.postgres.os_user import os_user_for
from nomadcrew.hosts.machine.postgres.process import is_postmaster_of
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres

AS_ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not AS_ROOT, reason="only root runs PostgreSQL as another user")

Make = Callable[..., EmbeddedPostgres]

# Errors of a statement whose connection is cut, including asyncpg's internal ones.
LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

# A host that starts PostgreSQL, prints its process id, and waits to be killed.
HOST = """
import asyncio, sys, threading
from pathlib import Path
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres
from nomadcrew.hosts.machine.postgres.process import is_postmaster_of

async def main():
    binaries, folder = find_binaries(), DataFolder(Path(sys.argv[1]))
    folder.open(binaries.major)
    with folder.lock("killed"):
        print("starting", flush=True)
        pg = EmbeddedPostgres(folder, binaries)
        await pg.start()
        print(pg.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    return find_binaries()


@pytest_asyncio.fixture(scope="session")
async def initialised(tmp_path_factory: pytest.TempPathFactory, binaries: Binaries) -> Path:
    """A data folder with a stopped database, which tests copy instead of running initdb."""
    folder = DataFolder(tmp_path_factory.mktemp("initialised") / "home")
    folder.open(binaries.major)
    pg = EmbeddedPostgres(folder, binaries)
    await pg.start()
    await run(pg, "CREATE TABLE kept (n int PRIMARY KEY)")
    await pg.stop()
    return folder.home


@pytest.fixture
def home(tmp_path: Path, initialised: Path) -> Path:
    return Path(shutil.copytree(initialised, tmp_path / "home"))


@pytest_asyncio.fixture
async def make(binaries: Binaries) -> AsyncIterator[Make]:
    """Creates launchers and stops them at the end."""
    made = []

    def launcher(home: Path, **options: Any) -> EmbeddedPostgres:
        folder = DataFolder(home)
        folder.open(binaries.major)
        made.append(EmbeddedPostgres(folder, binaries, **options))
        return made[-1]

    yield launcher
    for pg in made:
        await pg.stop()


async def run(pg: EmbeddedPostgres, statement: str, *values: object) -> Any:
    connection = await asyncpg.connect(**pg.connect_kwargs)
    try:
        return await connection.fetchval(statement, *values)
    finally:
        await connection.close()


@asynccontextmanager
async def supervised(pg: EmbeddedPostgres) -> AsyncIterator[None]:
    watch = asyncio.create_task(pg.supervise())
    try:
        yield
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def eventually(ask: Callable[[], Awaitable[Any]], within_s: float = 15) -> Any:
    deadline = time.monotonic() + within_s
    while True:
        try:
            return await ask()
        except LOST:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


@contextmanager
def killed_host(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A host process that is killed when the block ends."""
    with subprocess.Popen([sys.executable, "-c", HOST, str(home)], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "starting\n"
        yield host
        host.kill()
        host.wait()


def running(pid: int | None, home: Path) -> bool:
    # `kill -0` alone would also count a zombie process.
    assert pid is not None
    return is_postmaster_of(pid, home / "postgres")


async def test_the_first_start_creates_a_durable_database_without_network(tmp_path: Path, make: Make) -> None:
    pg = make(tmp_path / "home")
    await pg.start()
    settings = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "server_encoding")
    found = [await run(pg, "SELECT current_setting($1)", name) for name in settings]
    assert found == ["on", "on", "on", "", "UTF8"]
    assert await run(pg, "SELECT upper('ñandú') || current_database() || current_user") == "ÑANDÚnomadcrewnomadcrew"
    assert not (tmp_path / "home" / "postgres" / "postgresql.auto.conf").read_text().count("password")


async def test_rows_survive_a_stop_and_a_start(home: Path, make: Make) -> None:
    pg = make(home)
    await pg.start()
    await run(pg, "INSERT INTO kept VALUES (1)")
    first = pg.pid
    await pg.stop()
    assert not running(first, home)
    await pg.start()
    assert await run(pg, "SELECT count(*) FROM kept") == 1


async def test_stopping_twice_or_before_a_start_does_nothing(home: Path, make: Make) -> None:
    pg = make(home)
    await pg.stop()
    await pg.start()
    await pg.stop()
    await pg.stop()


async def test_ctrl_c_does_not_reach_postgres(home: Path, make: Make) -> None:
    pg = make(home)
    await pg.start()
    assert pg.pid is not None
    assert os.getsid(pg.pid) == pg.pid != os.getsid(0)


async def test_a_killed_postgres_is_started_again_with_every_acknowledged_row(
    home: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    pg = make(home)
    await pg.start()
    assert pg.pid is not None
    acknowledged = []

    async def write() -> None:
        connection = await asyncpg.connect(**pg.connect_kwargs)
        for n in range(1_000_000):
            await connection.execute("INSERT INTO kept VALUES ($1)", n)
            acknowledged.append(n)

    async with supervised(pg):
        writer = asyncio.create_task(write())
        await asyncio.sleep(0.3)
        killed = pg.pid
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(LOST):
            await writer
        there = await eventually(lambda: run(pg, "SELECT array_agg(n) FROM kept"))
    assert acknowledged
    assert set(acknowledged) <= set(there)
    assert pg.pid != killed
    assert [r.levelno for r in caplog.records if "PostgreSQL ended" in r.message] == [logging.WARNING]


async def test_a_restart_waits_for_backends_that_outlived_a_killed_postgres(home: Path, make: Make) -> None:
    pg = make(home)
    await pg.start()
    assert pg.pid is not None
    connection = await asyncpg.connect(**pg.connect_kwargs)
    busy = "DO $$ BEGIN WHILE clock_timestamp() < '{}'::timestamptz LOOP END LOOP; END $$"
    until = await connection.fetchval("SELECT (clock_timestamp() + interval '2 s')::text")
    query = asyncio.create_task(connection.execute(busy.format(until)))
    await asyncio.sleep(0.2)
    async with supervised(pg):
        os.kill(pg.pid, signal.SIGKILL)
        await asyncio.sleep(0.3)
        assert await eventually(lambda: run(pg, "SELECT clock_timestamp() >= $1::text::timestamptz", until))
    with suppress(*LOST):
        await query


async def test_the_postgres_of_a_killed_host_is_taken_over(home: Path, make: Make) -> None:
    with killed_host(home) as host:
        assert host.stdout is not None
        survivor = int(host.stdout.readline())
    assert running(survivor, home)
    pg = make(home)
    await pg.start()
    assert pg.pid == survivor
    await run(pg, "INSERT INTO kept VALUES (1)")
    async with supervised(pg):
        os.kill(survivor, signal.SIGKILL)
        await asyncio.sleep(0.3)
        assert await eventually(lambda: run(pg, "SELECT count(*) FROM kept")) == 1
    assert pg.pid != survivor
    await pg.stop()
    assert not running(survivor, home)


async def test_the_postgres_of_a_killed_host_is_replaced_when_settings_changed(home: Path, make: Make) -> None:
    with killed_host(home) as host:
        assert host.stdout is not None
        survivor = int(host.stdout.readline())
    pg = make(home, unsafe_fast=True)
    await pg.start()
    assert not running(survivor, home)
    assert await run(pg, "SHOW fsync") == "off"


async def test_a_host_killed_in_its_first_start_leaves_nothing_half_made(tmp_path: Path, make: Make) -> None:
    home = tmp_path / "home"
    with killed_host(home):
        deadline = time.monotonic() + 10
        while not list(home.glob("postgres.new-*/PG_VERSION")) and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
    assert not any((home / "postgres").iterdir())
    pg = make(home)
    await pg.start()
    assert await run(pg, "SELECT 1") == 1
    # The killed host's initdb may still be writing; it fails before the next start.
    await pg.stop()
    await pg.start()
    assert not list(home.glob("postgres.new-*"))


async def test_a_stale_pid_file_that_names_another_living_process_does_not_block(home: Path, make: Make) -> None:
    pg = make(home)
    account = os_user_for(home / "postgres", None)
    with subprocess.Popen(["sleep", "30"], cwd="/", **account.popen) as other:
        note = f"{other.pid}\n{home}/postgres\n1700000000\n5432\n../run\n\n  1 2\nready   \n"
        (home / "postgres" / "postmaster.pid").write_text(note)
        (home / "run" / f"{SOCKET}.lock").write_text(note)
        try:
            await pg.start()
            assert pg.pid != other.pid
            assert other.poll() is None
        finally:
            other.kill()


@pytest.mark.parametrize("note", ["", "not a number\n"])
async def test_an_unreadable_pid_file_does_not_block(home: Path, make: Make, note: str) -> None:
    (home / "postgres" / "postmaster.pid").write_text(note)
    await make(home).start()


async def test_a_path_too_long_for_a_socket_works(initialised: Path, tmp_path: Path, make: Make) -> None:
    deep = tmp_path.joinpath(*["x" * 200] * 6, "home")
    shutil.copytree(initialised, deep)
    pg = make(deep)
    await pg.start()
    place = Path(pg.connect_kwargs["host"])
    assert await run(pg, "SELECT 1") == 1
    assert len(str(place)) < 60
    await pg.stop()
    assert not place.exists()


async def test_a_socket_folder_that_is_open_to_others_is_refused(
    tmp_path: Path, initialised: Path, make: Make
) -> None:
    deep = Path(shutil.copytree(initialised, tmp_path / ("x" * 120)))
    pg = make(deep)
    await pg.start()
    place = Path(pg.connect_kwargs["host"])
    await pg.stop()
    place.mkdir()
    place.chmod(0o777)
    try:
        with pytest.raises(StartupError, match="open to other users"):
            await pg.start()
    finally:
        place.rmdir()


async def test_a_damaged_database_is_refused_with_its_reason_and_leaves_nothing_running(
    home: Path, make: Make
) -> None:
    (home / "postgres" / "global" / "pg_control").write_bytes(b"")
    pg = make(home)
    with pytest.raises(StartupError, match=r"PostgreSQL did not start.*pg_control.*; .+\."):
        await pg.start()
    assert not running(pg.pid, home)


async def test_a_folder_with_files_but_no_database_is_refused_untouched(tmp_path: Path, make: Make) -> None:
    pg = make(tmp_path / "home")
    (tmp_path / "home" / "postgres" / "base").mkdir()
    with pytest.raises(StartupError, match="holds files but no database"):
        await pg.start()
    assert [path.name for path in (tmp_path / "home" / "postgres").iterdir()] == ["base"]


async def test_another_host_process_can_attach(home: Path, make: Make) -> None:
    owner, guest = make(home), make(home)
    with pytest.raises(StartupError, match="No PostgreSQL runs"):
        await guest.attach()
    await owner.start()
    await guest.attach()
    assert guest.connect_kwargs == owner.connect_kwargs
    await guest.stop()
    assert await run(owner, "SELECT 1") == 1


async def test_pg_tools_connect_with_the_dsn(home: Path, make: Make, binaries: Binaries) -> None:
    pg = make(home)
    await pg.start()
    dumped = subprocess.run([binaries.pg_dump, "--schema-only", pg.dsn], capture_output=True, text=True)
    assert "CREATE TABLE public.kept" in dumped.stdout


@only_root
async def test_no_other_os_user_may_connect_not_even_the_one_postgres_runs_as(home: Path, make: Make) -> None:
    pg = make(home)
    await pg.start()
    account = os_user_for(home / "postgres", None)
    psql = pg.binaries.bin / "psql"
    socket = "/proc/self/cwd/../run"
    command = [str(psql), "--no-psqlrc", "-U", "nomadcrew", "-h", socket, "-c", "SELECT 1", "nomadcrew"]
    tried = subprocess.run(command, cwd=home / "postgres", capture_output=True, text=True, **account.popen)
    assert "Peer authentication failed" in tried.stderr


@only_root
async def test_root_runs_postgres_as_the_owner_of_an_existing_database(home: Path, make: Make) -> None:
    user = next(entry for entry in pwd.getpwall() if entry.pw_name not in ("root", "nobody"))
    for path in (home / "postgres", *(home / "postgres").rglob("*")):
        shutil.chown(path, user.pw_uid)
    pg = make(home, postgres_user="nobody")
    await pg.start()
    assert Path(f"/proc/{pg.pid}").stat().st_uid == user.pw_uid
