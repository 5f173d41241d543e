"""A drill: restores a backup into a folder of its own, counts what is there, and removes the folder."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from nomadcrew.core.chat.model import key_of as attachment_key
from nomadcrew.core.documents.model import key_of as document_key
from nomadcrew.core.pictures.model import original_key
from nomadcrew.hosts.machine.backup.backup import Say, restore
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.postgres.binaries import Binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres

_TABLES = """
SELECT format('%I', relname) AS name FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname
"""
_DOCUMENTS = "SELECT id FROM documents WHERE stored_at IS NOT NULL AND deleted_at IS NULL"
_PICTURES = "SELECT id FROM pictures WHERE stored_at IS NOT NULL AND deleted_at IS NULL"
_ATTACHMENTS = "SELECT trip_id, id FROM attachments WHERE message_id IS NOT NULL AND deleted_at IS NULL"


@dataclass(frozen=True, slots=True)
class Drilled:
    """The content of a backup. `missing` are the keys of files that rows refer to."""

    tables: int
    rows: int
    files: int
    missing: tuple[str, ...]


async def drill(source: Path, beside: Path, binaries: Binaries, *, postgres_user: str | None, say: Say) -> Drilled:
    """Restore a backup into a new folder in `beside`, count its rows and files, and remove the folder.

    Raises:
        StartupError: the backup cannot be restored.
    """
    with _folder(beside) as folder:
        await restore(source, folder, binaries, postgres_user=postgres_user, say=say)
        say("Counting its rows and files")
        postgres = EmbeddedPostgres(folder, binaries, postgres_user=postgres_user)
        await postgres.start()
        try:
            return await _counted(folder, postgres)
        finally:
            await postgres.stop()


@contextlib.contextmanager
def _folder(beside: Path) -> Iterator[DataFolder]:
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".nomadcrew-drill-", dir=beside) as name:
        Path(name).chmod(0o711)  # if the host is root, PostgreSQL runs as another user
        yield DataFolder(Path(name) / "home")


async def _counted(folder: DataFolder, postgres: EmbeddedPostgres) -> Drilled:
    connection = await asyncpg.connect(**postgres.connect_kwargs)
    try:
        tables = [str(row["name"]) for row in await connection.fetch(_TABLES)]
        rows = 0
        for table in tables:
            rows += await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608 — a name of the catalogue
        keys = [document_key(row["id"]) for row in await connection.fetch(_DOCUMENTS)]
        keys += [original_key(row["id"]) for row in await connection.fetch(_PICTURES)]
        keys += [attachment_key(row["trip_id"], row["id"]) for row in await connection.fetch(_ATTACHMENTS)]
    finally:
        await connection.close()
    files = sum(path.is_file() for path in folder.files.rglob("*"))
    missing = tuple(key for key in keys if not (folder.files / key).is_file())
    return Drilled(len(tables), rows, files, missing)
