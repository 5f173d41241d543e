"""One file that holds a data folder, and a data folder made from it.

The file holds what signs tokens, so it is as secret as the folder itself. What lies in `mail` is not saved.

People's files come and go while a backup is made. They are linked into a folder of the backup's own before the
database is saved, so that none it tells of is deleted, and once more afterwards, for those that came meanwhile.
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
from nomadcrew.hosts.machine.errors import CannotStart, HostRuns
from nomadcrew.hosts.machine.postgres.binaries import Binaries
from nomadcrew.hosts.machine.postgres.cluster import failure
from nomadcrew.hosts.machine.postgres.os_user import quiet_environment
from nomadcrew.hosts.machine.postgres.process import Postmaster, exists, is_postmaster_of, read_pid_file
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres

_HELD = ".backup-"

Say = Callable[[str], None]


def _silent(_: str) -> None: ...


async def backup(folder: DataFolder, pg: EmbeddedPostgres, target: Path, *, say: Say = _silent) -> None:
    """Write the whole data folder into `target`, beside a running host or without one.

    The database is as it was at one moment during the call, and nobody waits for it.

    Raises:
        CannotStart: it could not be made, or `target` exists; there is no new file.
    """
    _check(folder, pg, target)
    stem = f".{target.name}.{secrets.token_hex(4)}"
    part, dump = target.with_name(f"{stem}.part"), target.with_name(f"{stem}.dump")
    held = folder.files / f"{_HELD}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        await asyncio.to_thread(_hold, folder.files, held)
        await _dump(folder, pg, dump, say)
        await asyncio.to_thread(_hold, folder.files, held)
        say(f"Writing {target}")
        await asyncio.to_thread(_write, part, dump, folder, held, pg.binaries.version)
        part.rename(target)
        sync_folder(target.parent)
    except OSError as exc:
        raise CannotStart(
            f"The backup {target} could not be made ({exc.strerror}: {exc.filename or target}); "
            "run it as the owner of the data folder, with free space where the file goes."
        ) from exc
    finally:
        part.unlink(missing_ok=True)
        dump.unlink(missing_ok=True)
        shutil.rmtree(held, ignore_errors=True)
    say(f"Done: {target}. Keep it as secret as the data folder.")


async def restore(
    source: Path, folder: DataFolder, binaries: Binaries, *, postgres_user: str | None = None, say: Say = _silent
) -> None:
    """Make `folder`, which must be new or empty, from a backup. A host can be started on it afterwards.

    It is made elsewhere and moved into place when it is complete.

    Raises:
        CannotStart: the backup is damaged or newer, or the folder cannot be made; nothing new is on the disk.
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
        raise CannotStart(
            f"{source} could not be restored into {folder.home} ({exc.strerror}: {exc.filename}); "
            "name a backup that can be read and a folder with free space."
        ) from exc
    await _sweep(folder.home)  # an initdb that outlived its host may have written on during the first time
    say(f"Done: {folder.home} is restored and can be started.")


def _check(folder: DataFolder, pg: EmbeddedPostgres, target: Path) -> None:
    folder.check_contents(pg.binaries.major)
    if not (folder.postgres / "PG_VERSION").exists():
        raise CannotStart(f"{folder.home} has no database yet; start NomadCrew once before a backup.")
    if target.exists():
        raise CannotStart(f"{target} exists already; name another file for the backup.")


async def _dump(folder: DataFolder, pg: EmbeddedPostgres, dump: Path, say: Say) -> None:
    # pg_dump would create the file for everyone to read.
    os.close(os.open(dump, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    async with _running(folder, pg, say):
        say("Saving the database")
        options = ["--format=custom", "--no-owner", "--no-privileges", "--lock-wait-timeout=60s", f"--file={dump}"]
        await _run("The database could not be saved", pg.binaries.pg_dump, *options, pg.dsn)


@contextlib.asynccontextmanager
async def _running(folder: DataFolder, pg: EmbeddedPostgres, say: Say) -> AsyncIterator[None]:
    """PostgreSQL up for the block: this host's, another host's, or one started for the purpose."""
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
    """Whether the folder's lock could be had until `cleanup`; if not, a host is running."""
    try:
        cleanup.enter_context(folder.lock("making a backup"))
    except HostRuns:
        return False
    return True


async def _run(what: str, program: Path, *arguments: str) -> None:
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
        raise CannotStart(
            f"{program} cannot be run ({exc.strerror}); name a complete PostgreSQL in NOMADCREW_POSTGRES_BIN."
        ) from exc
    if done.returncode != 0:
        raise CannotStart(failure(what, done.stderr.decode(errors="replace")))


def _hold(files: Path, held: Path) -> None:
    """Link all of people's files into `held`, which is on the same disk; those that are there already stay."""
    for left in files.glob(f"{_HELD}*"):
        pid = left.name.removeprefix(_HELD).partition("-")[0]
        if not (pid.isdecimal() and exists(int(pid))):  # a backup's that was killed
            shutil.rmtree(left, ignore_errors=True)
    for place, folders, names in os.walk(files):
        folders[:] = [name for name in folders if not name.startswith(".")]
        to = held / Path(place).relative_to(files)
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            # Names with a dot are of files that are being written. One may be gone by now, or be held already.
            if not name.startswith("."):
                with contextlib.suppress(FileNotFoundError, FileExistsError):
                    (to / name).hardlink_to(Path(place) / name)


def _write(part: Path, dump: Path, folder: DataFolder, held: Path, postgres: str) -> None:
    parts: dict[str, IO[bytes] | Path] = {DUMP: dump}
    for place in SAVED_FOLDERS:
        root = held if place == folder.files.name else folder.home / place
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                # Keys are small, and may be replaced while this is written; what is held is not.
                name = f"{place}/{path.relative_to(root).as_posix()}"
                parts[name] = path if root is held else io.BytesIO(path.read_bytes())
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
        await _analyze(pg)
    finally:
        await pg.stop()
    dump.unlink()


async def _analyze(pg: EmbeddedPostgres) -> None:
    """A dump brings no statistics, and without them the first plans are bad."""
    connection = await asyncpg.connect(**pg.connect_kwargs)
    try:
        await connection.execute("ANALYZE")
    except asyncpg.PostgresError as exc:
        raise CannotStart(f"The restored database cannot be read ({exc}); free some space and try again.") from exc
    finally:
        await connection.close()


def _require_empty(folder: DataFolder) -> None:
    if not folder.is_empty():
        raise CannotStart(f"{folder.home} is not empty; set NOMADCREW_HOME to a new or empty folder.")


@contextlib.contextmanager
def _stage(home: Path) -> Iterator[DataFolder]:
    """A data folder beside `home`, or inside when that exists already; put in its place if the block succeeds."""
    made = _missing(home.parent)
    inside = home.exists()
    place = (
        (home / f"{RESTORING}{os.getpid()}") if inside else home.with_name(f".{home.name}{RESTORING}{os.getpid()}")
    )
    try:
        yield DataFolder(place)
        _require_empty(DataFolder(home))  # it may have been filled in the meantime
        if inside:
            _move_contents(place, home)
        else:
            place.rename(home)
            sync_folder(home.parent)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _move_contents(place: Path, home: Path) -> None:
    """Move everything, what makes it a data folder last. A mount cannot be replaced as a whole."""
    moved: list[Path] = []
    try:
        for path in sorted(place.iterdir(), key=lambda path: path.name == "folder.json"):
            path.rename(home / path.name)
            moved.append(home / path.name)
        sync_folder(home)
    except BaseException:
        for path in moved:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
    place.rmdir()


async def _sweep(home: Path) -> None:
    """Remove what restores that were killed have left, and end their PostgreSQL."""
    for left in _leftovers(home):
        data = left / "postgres"
        note = read_pid_file(data)
        if note and is_postmaster_of(note.pid, data):
            await Postmaster(note.pid, data).stop()
        _remove(left, Path(note.socket) if note else None)


def _remove(left: Path, socket: Path | None) -> None:
    if socket and socket.is_absolute():  # else it lies inside
        with contextlib.suppress(OSError):
            socket.rmdir()
    shutil.rmtree(left, ignore_errors=True)


def _leftovers(home: Path) -> Iterator[Path]:
    for folder, prefix in ((home, RESTORING), (home.parent, f".{home.name}{RESTORING}")):
        for place in list(folder.iterdir()) if folder.is_dir() else ():
            pid = place.name.removeprefix(prefix)
            if place.name != pid and pid.isdecimal() and not exists(int(pid)):
                yield place


def _missing(folder: Path) -> list[Path]:
    """Those of `folder` and its parents that do not exist, innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]
