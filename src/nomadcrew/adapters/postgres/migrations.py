"""Forward-only migrations from numbered files; the same runner on both hosts.

Each file runs in its own transaction, under an advisory lock: a second runner waits and then finds nothing to do.
An applied file must not change: its checksum is stored. `-- step: name` between two `-- split` runs a function of
`STEPS` in the file's transaction, for what SQL cannot compute.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

import nomadcrew
from nomadcrew.adapters.postgres.sql import Sql, compile_statement
from nomadcrew.adapters.postgres.text_keys import SameKey, fill_search_keys, fill_text_keys
from nomadcrew.adapters.postgres.trip_time_zones import fill_time_zones

LOCK_TIMEOUT = "10s"
_SPLIT = re.compile(r"^-- split\s*$", re.MULTILINE)
_STEP = re.compile(r"-- step: (\w+)")
_FILE = re.compile(r"(\d{4})_\w+\.sql")

_CREATE = compile_statement(
    "create_migrations",
    """CREATE TABLE IF NOT EXISTS schema_migrations (
        version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now())""",
)
_LOCK = compile_statement("lock_migrations", "SELECT pg_advisory_xact_lock(7206031)")
_TIMEOUT = compile_statement("lock_timeout", f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
_APPLIED = compile_statement("applied", "SELECT version, checksum FROM schema_migrations ORDER BY version")
_RECORD = compile_statement(
    "record_migration",
    "INSERT INTO schema_migrations (version, name, checksum) VALUES (:version::int, :name::text, :checksum::text)",
)


STEPS: Final[Mapping[str, Callable[[Sql], Awaitable[None]]]] = {
    "fill_search_keys": fill_search_keys,
    "fill_text_keys": fill_text_keys,
    "fill_time_zones": fill_time_zones,
}


class MigrationError(Exception):
    """A migration cannot be applied to this database; its transaction changed nothing."""


class Migration(Struct, frozen=True):
    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def folder() -> Path:
    """The folder of the files: in an installed package, or at the root of a checkout."""
    package = Path(nomadcrew.__file__).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


def load(path: Path) -> list[Migration]:
    """The migrations in a folder, in order.

    Raises:
        MigrationError: a file's name is malformed, or a number is missing or used twice.
    """
    migrations = []
    for file in sorted(path.glob("*.sql")):
        match = _FILE.fullmatch(file.name)
        if match is None:
            raise MigrationError(f"{file.name}: a migration's name must be like 0007_what_it_does.sql")
        migrations.append(Migration(int(match[1]), file.stem, file.read_text()))
    if [m.version for m in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationError(f"{path}: a migration's number is missing or used twice")
    return migrations


class PostgresSchema:
    """`Schema` with the migrations of this version of the code."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def bring_up_to_date(self) -> list[str]:
        return [migration.name for migration in await migrate(self._sql)]


async def migrate(sql: Sql, migrations: list[Migration] | None = None) -> list[Migration]:
    """Apply new migrations; returns them.

    Raises:
        MigrationError: an applied file was edited, the database is from a newer version, or rows contradict a file.
    """
    wanted = load(folder()) if migrations is None else migrations
    async with sql.transaction():
        await sql.fetch(_LOCK)
        await sql.fetch(_CREATE)
    done = []
    for migration in wanted:
        async with sql.transaction():
            await sql.fetch(_TIMEOUT)
            await sql.fetch(_LOCK)
            applied = {row["version"]: row["checksum"] for row in await sql.fetch(_APPLIED)}
            _check(wanted, applied)
            if migration.version not in applied:
                await _apply(sql, migration)
                done.append(migration)
    return done


def _check(wanted: list[Migration], applied: dict[Any, Any]) -> None:
    newest = max(applied, default=0)
    if newest > len(wanted):
        raise MigrationError(
            f"the database is at migration {newest}, but this version has {len(wanted)}: run the newer version"
        )
    for migration in wanted[:newest]:
        if applied[migration.version] != migration.checksum:
            raise MigrationError(
                f"migration {migration.name} was edited after it was applied: restore the file, and put the change "
                "into a new one"
            )


async def _apply(sql: Sql, migration: Migration) -> None:
    for number, part in enumerate(_SPLIT.split(migration.text)):
        if step := _STEP.fullmatch(part.strip()):
            try:
                await STEPS[step[1]](sql)
            except SameKey as same:
                raise MigrationError(f"{migration.name}: {same}") from None
        elif part.strip():
            await sql.fetch(compile_statement(f"{migration.name}_{number}", part))
    await sql.fetch(_RECORD, version=migration.version, name=migration.name, checksum=migration.checksum)
