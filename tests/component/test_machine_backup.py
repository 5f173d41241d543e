"""Backup and restore, with a real PostgreSQL. A restore is complete, and a failure leaves no files."""

import io
import json
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from nomadcrew.adapters.machine.disk import write_whole
from nomadcrew.hosts.machine.backup.archive import write_archive
from nomadcrew.hosts.machine.backup.backup import backup, restore
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.hosts.machine.postgres.binaries import Binaries, find_binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres

ROWS = 5_000
FILE, PICTURE = "attachments/trip/picture", bytes(range(256)) * 64
KEY = b"-----BEGIN PRIVATE KEY-----\n\x00\xff"

RESTORE = """
import asyncio, sys, time
from pathlib import Path
from nomadcrew.hosts.machine.backup.backup import restore
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.data_folder import DataFolder

def say(text):
    print(text, flush=True)
    if text == "Restoring the database":
        time.sleep(60)

asyncio.run(restore(Path(sys.argv[1]), DataFolder(Path(sys.argv[2])), find_binaries(), say=say))
"""


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    return find_binaries()


def launcher(home: Path, binaries: Binaries) -> tuple[DataFolder, EmbeddedPostgres]:
    folder = DataFolder(home)
    folder.open(binaries.major)
    return folder, EmbeddedPostgres(folder, binaries)


@pytest_asyncio.fixture(scope="session")
async def source(tmp_path_factory: pytest.TempPathFactory, binaries: Binaries) -> Path:
    """A data folder with data in every part; its PostgreSQL is stopped."""
    folder, pg = launcher(tmp_path_factory.mktemp("source") / "home", binaries)
    write_whole(folder.keys / "signing.pem", KEY)
    (folder.files / "attachments" / "trip").mkdir(parents=True)
    (folder.files / FILE).write_bytes(PICTURE)
    (folder.files / "attachments" / ".half.tmp").write_bytes(b"half")
    (folder.mail / "1.eml").write_text("Your code is 123456")
    await pg.start()
    connection = await asyncpg.connect(**pg.connect_kwargs)
    await connection.execute("CREATE TABLE kept (n int PRIMARY KEY, text text)")
    await connection.execute(f"INSERT INTO kept SELECT n, 'ñandú ' || n FROM generate_series(1, {ROWS}) n")
    await connection.close()
    await pg.stop()
    return folder.home


@pytest_asyncio.fixture(scope="session")
async def archive(source: Path, tmp_path_factory: pytest.TempPathFactory, binaries: Binaries) -> Path:
    target = tmp_path_factory.mktemp("archive") / "backup.tar"
    await backup(*launcher(source, binaries), target)
    return target


async def rows(home: Path, binaries: Binaries) -> int:
    folder, pg = launcher(home, binaries)
    with folder.lock():
        await pg.start()
        connection = await asyncpg.connect(**pg.connect_kwargs)
        count: int = await connection.fetchval("SELECT count(*) FROM kept WHERE text = 'ñandú ' || n")
        await connection.close()
        await pg.stop()
    return count


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_restore_brings_everything_back_except_mail(
    archive: Path, tmp_path: Path, binaries: Binaries
) -> None:
    said: list[str] = []
    await restore(archive, DataFolder(tmp_path / "deep" / "home"), binaries, say=said.append)
    home = tmp_path / "deep" / "home"
    assert (home / "keys" / "signing.pem").read_bytes() == KEY
    assert stat.S_IMODE((home / "keys" / "signing.pem").stat().st_mode) == 0o600
    assert names(home / "mail") == set()
    assert (home / "files" / FILE).read_bytes() == PICTURE
    assert names(home / "files" / "attachments") == {"trip"}
    assert names(tmp_path / "deep") == {"home"}
    assert await rows(home, binaries) == ROWS
    assert said[-1].startswith("Done")


async def test_a_restored_database_begins_another_epoch_of_synchronisation(
    tmp_path: Path, binaries: Binaries
) -> None:
    folder, pg = launcher(tmp_path / "source", binaries)
    await pg.start()
    connection = await asyncpg.connect(**pg.connect_kwargs)
    await connection.execute("CREATE TABLE kept (n int PRIMARY KEY, text text)")
    insert = "INSERT INTO kept SELECT count(*), 'ñandú ' || count(*) FROM kept"
    await connection.execute(f"CREATE FUNCTION renew_sync_epoch() RETURNS void LANGUAGE sql AS $$ {insert} $$")
    await connection.close()
    await pg.stop()
    await backup(folder, pg, tmp_path / "backup.tar")
    await restore(tmp_path / "backup.tar", DataFolder(tmp_path / "restored"), binaries)
    assert (await rows(tmp_path / "source", binaries), await rows(tmp_path / "restored", binaries)) == (0, 1)


async def test_a_backup_is_one_private_file_with_a_manifest(archive: Path) -> None:
    assert names(archive.parent) == {"backup.tar"}
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["manifest.json", "database.dump", "keys/signing.pem", f"files/{FILE}"]
        manifest = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert manifest["format"] == 2
    assert set(manifest["parts"]) == {"database.dump", "keys/signing.pem", f"files/{FILE}"}


async def test_files_created_or_deleted_during_a_backup_are_in_it(tmp_path: Path, binaries: Binaries) -> None:
    folder, pg = launcher(tmp_path / "home", binaries)
    await pg.start()
    await pg.stop()
    (folder.files / "goes").write_bytes(b"goes")
    left = folder.files / f".backup-{2**22 + 1}-killed"
    left.mkdir()

    def meanwhile(text: str) -> None:
        if text == "Saving the database":
            (folder.files / "goes").unlink()
            (folder.files / "comes").write_bytes(b"comes")

    await backup(folder, pg, tmp_path / "backup.tar", say=meanwhile)
    with tarfile.open(tmp_path / "backup.tar") as tar:
        assert {name for name in tar.getnames() if name.startswith("files/")} == {"files/comes", "files/goes"}
    assert names(folder.files) == {"comes"}


async def test_a_backup_beside_a_running_host_leaves_it_running(
    source: Path, tmp_path: Path, binaries: Binaries
) -> None:
    folder, pg = launcher(source, binaries)
    with folder.lock("http://127.0.0.1:8080"):
        await pg.start()
        pid = pg.pid
        await backup(*launcher(source, binaries), tmp_path / "by-another-process.tar")
        await backup(folder, pg, tmp_path / "by-the-host.tar")
        connection = await asyncpg.connect(**pg.connect_kwargs)
        assert await connection.fetchval("SELECT count(*) FROM kept") == ROWS
        await connection.close()
        assert pg.pid == pid
        await pg.stop()
    assert names(tmp_path) == {"by-another-process.tar", "by-the-host.tar"}


async def test_a_backup_without_a_host_stops_its_own_postgres(archive: Path, source: Path) -> None:
    assert archive.exists()
    assert not (source / "postgres" / "postmaster.pid").exists()


async def test_a_backup_overwrites_nothing(source: Path, tmp_path: Path, binaries: Binaries) -> None:
    (tmp_path / "backup.tar").write_text("the only copy")
    with pytest.raises(StartupError, match="already exists"):
        await backup(*launcher(source, binaries), tmp_path / "backup.tar")
    assert (tmp_path / "backup.tar").read_text() == "the only copy"


async def test_an_unwritable_backup_is_reported(source: Path, tmp_path: Path, binaries: Binaries) -> None:
    with pytest.raises(StartupError, match="could not be written"):
        await backup(*launcher(source, binaries), tmp_path / "missing" / "backup.tar")
    assert names(tmp_path) == set()


async def test_a_folder_without_database_has_nothing_to_back_up(tmp_path: Path, binaries: Binaries) -> None:
    with pytest.raises(StartupError, match="no database yet"):
        await backup(*launcher(tmp_path / "home", binaries), tmp_path / "backup.tar")
    assert names(tmp_path) == {"home"}


async def test_an_empty_folder_that_exists_is_filled(archive: Path, tmp_path: Path, binaries: Binaries) -> None:
    (tmp_path / "lost+found").mkdir()  # a fresh volume, whose folder cannot be replaced
    await restore(archive, DataFolder(tmp_path), binaries)
    assert await rows(tmp_path, binaries) == ROWS
    assert {name for name in names(tmp_path) if name.startswith(".")} == set()


async def test_a_folder_in_use_is_not_restored_into(archive: Path, source: Path, binaries: Binaries) -> None:
    before = (source / "folder.json").stat()
    with pytest.raises(StartupError, match="is not empty"):
        await restore(archive, DataFolder(source), binaries)
    assert (source / "folder.json").stat() == before


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def with_manifest(**changes: object) -> Callable[[bytes], bytes]:
    """The archive with changes to its manifest, as a valid tar."""

    def change(data: bytes) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            parts = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
        parts["manifest.json"] = json.dumps({**json.loads(parts["manifest.json"]), **changes}).encode()
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, content in parts.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return out.getvalue()

    return change


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(flipped, "does not match its checksum", id="one bit"),
        pytest.param(lambda data: data[: len(data) // 2], "damaged|differ from", id="cut short"),
        pytest.param(lambda data: b"", "use another backup", id="empty"),
        pytest.param(lambda data: b"PK" + b"x" * 5_000, "use another backup", id="something else"),
        pytest.param(with_manifest(parts={}), "differ from its manifest", id="parts not stated"),
        pytest.param(with_manifest(parts=None), "manifest cannot be read", id="no parts"),
        pytest.param(with_manifest(format=3), "newer NomadCrew", id="newer format"),
        pytest.param(with_manifest(postgres="99.1"), r"newer NomadCrew .*PostgreSQL 99.1", id="newer PostgreSQL"),
    ],
)
async def test_restoring_a_damaged_or_newer_backup_leaves_no_files(
    archive: Path, tmp_path: Path, binaries: Binaries, damage: Callable[[bytes], bytes], reason: str
) -> None:
    (tmp_path / "damaged.tar").write_bytes(damage(archive.read_bytes()))
    with pytest.raises(StartupError, match=reason):
        await restore(tmp_path / "damaged.tar", DataFolder(tmp_path / "home"), binaries)
    assert names(tmp_path) == {"damaged.tar"}


@pytest.mark.parametrize(
    "name", ["../outside", "/tmp/outside", "keys/../../outside", "postgres/PG_VERSION", "keys"]
)
async def test_a_backup_with_paths_outside_the_folder_is_refused(
    tmp_path: Path, binaries: Binaries, name: str
) -> None:
    parts = {"database.dump": io.BytesIO(b"x"), name: io.BytesIO(b"y")}
    write_archive(tmp_path / "evil.tar", parts, postgres="18.6")
    with pytest.raises(StartupError, match="does not match its checksum"):
        await restore(tmp_path / "evil.tar", DataFolder(tmp_path / "home"), binaries)
    assert names(tmp_path) == {"evil.tar"}


async def test_a_failed_restore_of_the_database_leaves_no_files(tmp_path: Path, binaries: Binaries) -> None:
    write_archive(tmp_path / "bad.tar", {"database.dump": io.BytesIO(b"PGDMP, or not")}, postgres="18.6")
    with pytest.raises(StartupError, match=r"The database could not be restored: .+"):
        await restore(tmp_path / "bad.tar", DataFolder(tmp_path / "new" / "home"), binaries)
    assert names(tmp_path) == {"bad.tar"}


async def test_the_error_for_a_missing_backup_names_its_path(tmp_path: Path, binaries: Binaries) -> None:
    with pytest.raises(StartupError, match=r"No such file.*none\.tar"):
        await restore(tmp_path / "none.tar", DataFolder(tmp_path / "home"), binaries)


async def test_a_killed_restore_leaves_no_data_folder_and_the_next_one_cleans_up(
    archive: Path, tmp_path: Path, binaries: Binaries
) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-c", RESTORE, str(archive), str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        while killed.stdout.readline() not in ("Restoring the database\n", ""):
            pass
        killed.kill()
    assert len(names(tmp_path)) == 1
    assert not home.exists()
    await restore(archive, DataFolder(home), binaries)
    assert names(tmp_path) == {"home"}
    assert await rows(home, binaries) == ROWS
