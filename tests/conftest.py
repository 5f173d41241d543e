"""Fixtures for tests with a database. Unit tests have neither databases nor sockets."""

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from pytest_socket import disable_socket, enable_socket

from nomadcrew.adapters.postgres.application_user import allow_application_user
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.migrations import migrate
from tests.postgres import APPLICATION_PASSWORD, APPLICATION_USER, Postgres, postgres

__all__ = ["postgres"]

UNIT = Path(__file__).parent / "unit"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets background processes ignore Ctrl-C, and processes started by tests would inherit that.
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
async def template(postgres: Postgres) -> str:
    """The name of a migrated database, the template of the others."""
    connect = await postgres.fresh_database()
    pool = Database(connect, size=1)
    await migrate(pool)
    await allow_application_user(pool, APPLICATION_USER, APPLICATION_PASSWORD)
    await pool.close()
    return str(connect["database"])


@pytest_asyncio.fixture(loop_scope="session")
async def pool(postgres: Postgres, template: str) -> AsyncIterator[Database]:
    """A pool on a new migrated database."""
    connect = await postgres.fresh_database(template)
    database = Database(connect, size=8)
    yield database
    await database.close()
    await postgres.drop_database(connect)
