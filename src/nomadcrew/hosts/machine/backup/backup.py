"""Backup of a data folder to one file, and restore.

The file contains the signing keys, so it is as secret as the data folder. The folder `mail` is not saved.

Users' files are added and deleted while a backup is created. They are hard-linked into a folder of the backup
before the database is dumped, so that no file the dump refers to is deleted meanwhile, and again afterwards, for
files that were added meanwhile.
"""

import asyncio
import contextlib
import io
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO

import asyncpg

from nomadcrew.adapters.machine.disk import sync_folder
from nomadcrew.hosts.machine.backup.archive import DUMP, SAVED_FOLDERS, Archive, open_archive, write_archive
from nomadcrew.hosts.machine.data_folder import RESTORING, DataFolder
from nomadcrew.hosts.machine.errors import AlreadyRunning, StartupError
from nomadcrew.hosts.machine.postgres.binaries import Binaries
from nomadcrew.hosts.machine.postgres.cluster import failure
from nomadcrew.hosts.machine.postgres.os_user import quiet_environment
from nomadcrew.hosts.machine.postgres.process import Postmaster, exists, is_postmaster_of, read_pid_file
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres

_HELD = ".backup-"

Say = Callable[[str], None]


def _silent(_: str) -> None: ...


async def backup(folder: DataFolder, pg: EmbeddedPostgres, target: Path, *, say: Say = _silent) -> None:
    """Write the whole data folder into `target`, with or without a running host.

    The dump is a snapshot of one moment during the call, and blocks no other statement.

    Raises:
        StartupError: the backup failed, or `target` exists; no file was created.
    """
    _check(folder, pg, target)
    stem = f".{target.name}.{secrets.token_hex(4)}"
    part, dump = target.with_name(f"{stem}.part"), target.with_name(f"{stem}.dump")
    links = folder.files / f"{_HELD}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        await asyncio.to_thread(_link_files, folder.files, links)
        await _dump(folder, pg, dump, say)
        await asyncio.to_thread(_link_files, folder.files, links)
        say(f"Writing {target}")
        await asyncio.to_thread(_write, part, dump, folder, links, pg.binaries.version)
        part.rename(target)
        sync_folder(target.parent)
    except OSError as exc:
        raise StartupError(
            f"The backup {target} could not be written ({exc.strerror}: {exc.filename or target}); "
            "run the command as the owner of the data folder, with free space on the disk of the target."
        ) from exc
    finally:
        part.unlink(missing_ok=True)
        dump.unlink(missing_ok=True)
        shutil.rmtree(links, ignore_errors=True)
    say(f"Done: {target}. Keep it as secret as the data folder.")


async def restore(
    source: Path, folder: DataFolder, binaries: Binaries, *, postgres_user: str | None = None, say: Say = _silent
) -> None:
    """Create `folder`, which must be new or empty, from a backup. A host can be started on it afterwards.

    The folder is built elsewhere and moved when it is complete.

    Raises:
        StartupError: the backup is damaged or newer, or the folder cannot be created; nothing was created.
    """
    folder.check(binaries.major)
    _require_empty(folder)
    try:
        with open_archive(source) as archive:
            say(f"Checking {source}")
            parts = await asyncio.to_thread(archive.verify, binaries.major)
            await _sweep(folder.home)
            with _stage(folder.home) as stage:
                stage.open(binaries.major)
                await _fill(
                    stage, archive, parts, EmbeddedPostgres(stage, binaries, postgres_user=postgres_user), say
                )
    except OSError as exc:
        raise StartupError(
            f"{source} could not be restored into {folder.home} ({exc.strerror}: {exc.filename}); "
            "use a readable backup and a folder with free space."
        ) from exc
    await _sweep(folder.home)  # again: an initdb that outlived its killed host may have written more meanwhile
    say(f"Done: {folder.home} is restored and ready to start.")


def _check(folder: DataFolder, pg: EmbeddedPostgres, target: Path) -> None:
    folder.check_contents(pg.binaries.major)
    if not (folder.postgres / "PG_VERSION").exists():
        raise StartupError(f"{folder.home} has no database yet; start NomadCrew once before you make a backup.")
    if target.exists():
        raise StartupError(f"{target} already exists; choose another file for the backup.")


async def _dump(folder: DataFolder, pg: EmbeddedPostgres, dump: Path, say: Say) -> None:
    # pg_dump would create the file readable for all users.
    os.close(os.open(dump, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    async with _running(folder, pg, say):
        say("Saving the database")
        # The next start loads the gazetteer again.
        options = ["--format=custom", "--no-owner", "--no-privileges", "--lock-wait-timeout=60s",
                   "--exclude-table-data=gazetteer_*", f"--file={dump}"]  # fmt: skip
        await _run("The database could not be saved", pg.binaries.pg_dump, *options, pg.dsn)


@contextlib.asynccontextmanager
async def _running(folder: DataFolder, pg: EmbeddedPostgres, say: Say) -> AsyncIterator[None]:
    """PostgreSQL, running for the block: this host's, another host's, or one started for the block."""
    with contextlib.ExitStack() as cleanup:
        if pg.pid is not None:
            yield
        elif _locked(folder, cleanup):
            say("Starting PostgreSQL")
            await pg.start()
            try:
                yield
            finally:
                await pg.stop()
        else:
            await pg.attach()
            yield


def _locked(folder: DataFolder, cleanup: contextlib.ExitStack) -> bool:
    """True if the folder's lock was acquired, until `cleanup`; if not, a host is running."""
    try:
        cleanup.enter_context(folder.lock("making a backup"))
    except AlreadyRunning:
        return False
    return True


async def _run(summary: str, program: Path, *arguments: str) -> None:
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            [str(program), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=quiet_environment(),
        )
    except OSError as exc:
        raise StartupError(
            f"{program} cannot be run ({exc.strerror}); set NOMADCREW_POSTGRES_BIN to a complete PostgreSQL."
        ) from exc
    if done.returncode != 0:
        raise StartupError(failure(summary, done.stderr.decode(errors="replace")))


def _link_files(files: Path, links: Path) -> None:
    """Hard-link all of users' files into `links`, which is on the same disk; existing links stay."""
    for leftover in files.glob(f"{_HELD}*"):
        pid = leftover.name.removeprefix(_HELD).partition("-")[0]
        if not (pid.isdecimal() and exists(int(pid))):  # of a backup that was killed
            shutil.rmtree(leftover, ignore_errors=True)
    for source, folders, names in os.walk(files):
        folders[:] = [name for name in folders if not name.startswith(".")]
        to = links / Path(source).relative_to(files)
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            # Names with a leading dot are files in progress. A file may be deleted by now, or linked already.
            if not name.startswith("."):
                with contextlib.suppress(FileNotFoundError, FileExistsError):
                    (to / name).hardlink_to(Path(source) / name)


def _write(part: Path, dump: Path, folder: DataFolder, links: Path, postgres: str) -> None:
    parts: dict[str, IO[bytes] | Path] = {DUMP: dump}
    for folder_name in SAVED_FOLDERS:
        root = links if folder_name == folder.files.name else folder.home / folder_name
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                # Keys are small and may be replaced meanwhile, so they are read now; linked files do not change.
                name = f"{folder_name}/{path.relative_to(root).as_posix()}"
                parts[name] = path if root is links else io.BytesIO(path.read_bytes())
    write_archive(part, parts, postgres=postgres)


async def _fill(stage: DataFolder, archive: Archive, parts: list[str], pg: EmbeddedPostgres, say: Say) -> None:
    dump = stage.home / DUMP
    for name in parts:
        to = stage.home / name
        to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(archive.extract, name, to)
    say("Starting PostgreSQL")
    try:
        await pg.start()
        say("Restoring the database")
        options = ["--exit-on-error", "--no-owner", "--no-privileges", f"--dbname={pg.dsn}"]
        await _run("The database could not be restored", pg.binaries.pg_restore, *options, str(dump))
        await _prepare(pg)
    finally:
        await pg.stop()
    dump.unlink()


async def _prepare(pg: EmbeddedPostgres) -> None:
    """Begin another epoch of synchronisation, since clients may know changes that are not in the backup.

    Also make statistics: a dump has none, and the first query plans would be bad without them.
    """
    connection = await asyncpg.connect(**pg.connect_kwargs)
    try:
        if await connection.fetchval("SELECT to_regproc('renew_sync_epoch') IS NOT NULL"):
            await connection.execute("SELECT renew_sync_epoch()")
        await connection.execute("ANALYZE")
    except asyncpg.PostgresError as exc:
        raise StartupError(f"The restored database cannot be read ({exc}); free some space and try again.") from exc
    finally:
        await connection.close()


def _require_empty(folder: DataFolder) -> None:
    if not folder.is_empty():
        raise StartupError(f"{folder.home} is not empty; set NOMADCREW_HOME to a new or empty folder.")


@contextlib.contextmanager
def _stage(home: Path) -> Iterator[DataFolder]:
    """A data folder beside `home`, or inside it if it exists; moved to `home` if the block succeeds."""
    created = _missing(home.parent)
    inside = home.exists()
    stage = (
        (home / f"{RESTORING}{os.getpid()}") if inside else home.with_name(f".{home.name}{RESTORING}{os.getpid()}")
    )
    try:
        yield DataFolder(stage)
        _require_empty(DataFolder(home))  # files may have been added meanwhile
        if inside:
            _move_contents(stage, home)
        else:
            stage.rename(home)
            sync_folder(home.parent)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        for parent in created:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _move_contents(stage: Path, home: Path) -> None:
    """Move all contents, `folder.json` last, as it marks a data folder. A mount point itself cannot be replaced."""
    moved: list[Path] = []
    try:
        for path in sorted(stage.iterdir(), key=lambda path: path.name == "folder.json"):
            path.rename(home / path.name)
            moved.append(home / path.name)
        sync_folder(home)
    except BaseException:
        for path in moved:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
    stage.rmdir()


async def _sweep(home: Path) -> None:
    """Remove the leftovers of killed restores, and stop their PostgreSQL."""
    for leftover in _leftovers(home):
        data = leftover / "postgres"
        note = read_pid_file(data)
        if note and is_postmaster_of(note.pid, data):
            await Postmaster(note.pid, data).stop()
        _remove(leftover, Path(note.socket) if note else None)


def _remove(leftover: Path, socket: Path | None) -> None:
    if socket and socket.is_absolute():  # a relative path is inside the folder
        with contextlib.suppress(OSError):
            socket.rmdir()
    shutil.rmtree(leftover, ignore_errors=True)


def _leftovers(home: Path) -> Iterator[Path]:
    for folder, prefix in ((home, RESTORING), (home.parent, f".{home.name}{RESTORING}")):
        for path in list(folder.iterdir()) if folder.is_dir() else ():
            pid = path.name.removeprefix(prefix)
            if path.name != pid and pid.isdecimal() and not exists(int(pid)):
                yield path


def _missing(folder: Path) -> list[Path]:
    """The folders among `folder` and its parents that do not exist, innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]
