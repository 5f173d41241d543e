"""Fixtures for every test that needs an engine. Unit tests get none, and no sockets either."""

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from pytest_socket import disable_socket, enable_socket

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.migrations import migrate
from tests.engine import Engine, engine

__all__ = ["engine"]

UNIT = Path(__file__).parent / "unit"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has what it runs in the background ignore Ctrl-C, and every process that tests start would too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_network_in_unit_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    if UNIT in request.path.parents:
        disable_socket(allow_unix_socket=True)
        yield
        enable_socket()
    else:
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(engine: Engine) -> str:
    """The name of a migrated database that others are copied from."""
    connect = await engine.fresh_database()
    pool = Database(connect, size=1)
    await migrate(pool)
    await pool.close()
    return str(connect["database"])


@pytest_asyncio.fixture(loop_scope="session")
async def pool(engine: Engine, template: str) -> AsyncIterator[Database]:
    """A pool on a migrated database of one's own."""
    connect = await engine.fresh_database(template)
    database = Database(connect, size=8)
    yield database
    await database.close()
    await engine.drop_database(connect)
