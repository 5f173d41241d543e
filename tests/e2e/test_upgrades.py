"""The data of every released version: upgraded with every row, and served as that version served it."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres
from tests.e2e.client import PASSWORD, Api, User
from tests.e2e.server import Server

pytestmark = pytest.mark.one_machine("backups are of this machine's data folder")

RELEASES = Path(__file__).parents[1] / "releases"
PROGRAM = Path(sys.executable).with_name("nomadcrew")
# The record of migrations, and copies of rows for lists and searches, which an upgrade may write anew.
DERIVED = {"schema_migrations", "trip_cards"}
DERIVED_COLUMNS = {"folded"}
_TABLES = """
SELECT format('%I', relname) AS name FROM pg_class
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace ORDER BY relname
"""

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(params=[file.stem for file in sorted(RELEASES.glob("*.tar"))])
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture(loop_scope="session")
async def restored(release: str) -> AsyncIterator[Server]:
    """A stopped server on the data of a release, as it was backed up."""
    made = Server()
    try:
        nomadcrew(made, "restore", str(RELEASES / f"{release}.tar"))
        yield made
    finally:
        made.close()


def nomadcrew(server: Server, *words: str) -> str:
    environment = os.environ | {"NOMADCREW_HOME": str(server.home)}
    return subprocess.run([PROGRAM, *words], env=environment, check=True, text=True, stdout=subprocess.PIPE).stdout


async def rows_of(server: Server) -> Rows:
    """All rows of all tables, by table, with their values as JSON."""
    folder = DataFolder(server.home)
    with folder.lock():
        postgres = EmbeddedPostgres(folder, find_binaries())
        await postgres.start()
        connection = await asyncpg.connect(**postgres.connect_kwargs)
        tables = [row["name"] for row in await connection.fetch(_TABLES)]
        found = {
            table: [json.loads(row[0]) for row in await connection.fetch(f"SELECT to_jsonb(t) FROM {table} t")]
            for table in tables
            if table not in DERIVED
        }
        await connection.close()
        await postgres.stop()
    return found


def is_kept(row: dict[str, Any], now: dict[str, Any]) -> bool:
    """True if an upgraded row has all values of a row; it may have new columns."""
    return all(now.get(column) == value for column, value in row.items() if column not in DERIVED_COLUMNS)


def is_in(old: Any, new: Any) -> bool:
    """True if a reply has all that an older reply has: objects may have more keys."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and is_in(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(is_in, old, new))
    return bool(old == new)


async def test_an_upgrade_keeps_every_row(restored: Server) -> None:
    before = await rows_of(restored)
    assert sum(map(len, before.values())) > 50
    assert "Applied" in nomadcrew(restored, "migrate")
    after = await rows_of(restored)
    for table, rows in before.items():
        assert len(after[table]) == len(rows), table
        lost = [row for row in rows if not any(is_kept(row, now) for now in after[table])]
        assert lost == [], table


async def test_an_upgraded_server_gives_the_replies_of_the_release(release: str, restored: Server) -> None:
    views: dict[str, Any] = json.loads((RELEASES / f"{release}.json").read_text())
    await restored.start()
    api = Api(restored.url)
    body = {"email": "ana@example.org", "password": PASSWORD}
    ana = User.of(api, (await api.send("POST", "/v1/auth/login", json=body)).json())
    for path, reply in views.items():
        shown = await ana.ask("GET", path)
        assert is_in(reply, shown), (path, reply, shown)
    await api.close()
    assert await restored.stop() == 0
    assert restored.errors == []
