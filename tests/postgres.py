"""A temporary PostgreSQL for tests: one per session, with fresh databases.

In a conftest: `from tests.postgres import postgres`. Without pytest: `async with Postgres() as postgres: ...`.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg
import pytest_asyncio

from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.postgres.process import Postmaster, is_postmaster_of, read_pid_file
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres

ConnectKwargs = dict[str, Any]

# The user of the functions on AWS, in databases that are copies of the template.
APPLICATION_USER, APPLICATION_PASSWORD = "nomadcrew_app", "only-for-rows"

_PREFIX = "nomadcrew-tests-"
# A database has 540 files: creation takes up to half a second on disk, and 5 ms in memory.
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 2 << 30


class Postgres:
    """PostgreSQL in a temporary folder, in memory if possible. `pg` is the launcher."""

    pg: EmbeddedPostgres

    def __init__(self) -> None:
        self._cleanup = ExitStack()
        self._numbers = count(1)

    async def start(self) -> None:
        await _sweep()
        binaries = find_binaries()
        home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_fast_folder()))
        # After its lock is released, the sweep of another session may remove the folder first.
        self._cleanup.callback(shutil.rmtree, home, ignore_errors=True)
        folder = DataFolder(home)
        folder.open(binaries.major)
        self._cleanup.enter_context(folder.lock("tests"))
        self.pg = EmbeddedPostgres(folder, binaries, unsafe_fast=True)
        try:
            await self.pg.start()
        except BaseException:
            self._cleanup.close()
            raise

    async def stop(self) -> None:
        await self.pg.stop()
        self._cleanup.close()

    async def fresh_database(self, template: str | None = None) -> ConnectKwargs:
        """Create a database: empty, or a copy of `template`, which must have no connections.

        Returns arguments for `asyncpg.connect`; its "database" may be a template.
        """
        name = f"test_{next(self._numbers)}"
        # file_copy writes no WAL and takes half the time of the default for a small template.
        await self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template0"}" STRATEGY file_copy')
        return {**self.pg.connect_kwargs, "database": name}

    async def drop_database(self, database: str | ConnectKwargs) -> None:
        """Drop a database of `fresh_database`, even with open connections."""
        name = database if isinstance(database, str) else database["database"]
        await self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(**{**self.pg.connect_kwargs, "database": "postgres"})
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _fast_folder() -> Path:
    roomy = os.access(_MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES
    return _MEMORY if roomy else Path(tempfile.gettempdir())


async def _sweep() -> None:
    """Stop the PostgreSQL of killed test sessions and remove their folders."""
    for home in chain.from_iterable(
        folder.glob(f"{_PREFIX}*") for folder in (_MEMORY, Path(tempfile.gettempdir()))
    ):
        # Skip the folder of another user, one in use, and one that is being created.
        with suppress(StartupError, OSError):
            if not (home / "host.lock").exists():
                continue
            with DataFolder(home).lock():
                data = home / "postgres"
                note = read_pid_file(data)
                if note and is_postmaster_of(note.pid, data):
                    await Postmaster(note.pid, data).stop()
                shutil.rmtree(home)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[Postgres]:
    async with Postgres() as running:
        yield running
