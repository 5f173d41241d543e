"""The data folder: accepts or refuses folders without changing them, and admits one host."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nomadcrew.adapters.machine.disk import partial, write_whole
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import StartupError

MAJOR = 18
AS_ROOT = os.geteuid() == 0


def opened(home: Path) -> DataFolder:
    folder = DataFolder(home)
    folder.open(MAJOR)
    return folder


def contents(home: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(home)): path.read_bytes() if path.is_file() else None
        for path in sorted(home.rglob("*"))
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_use_creates_a_private_folder(tmp_path: Path) -> None:
    folder = opened(tmp_path / "deep" / "home")
    # Root's PostgreSQL runs as another user, who must be able to traverse the folder, but not to list or read it.
    assert mode(folder.home) == (0o711 if AS_ROOT else 0o700)
    assert {mode(path) for path in folder.home.iterdir() if path.is_dir()} == {0o700}
    assert json.loads((folder.home / "folder.json").read_text())["format"] == 1


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    before = contents(opened(tmp_path / "home").home)
    assert contents(opened(tmp_path / "home").home) == before


def test_an_empty_folder_and_a_fresh_volume_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert opened(tmp_path).keys.is_dir()


def test_the_folder_of_a_host_killed_at_its_first_start_is_accepted(tmp_path: Path) -> None:
    (tmp_path / ".folder.json.1a2b.tmp").write_text("{")
    assert opened(tmp_path).keys.is_dir()


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("hello")
    with pytest.raises(StartupError, match="is a file"):
        opened(tmp_path / "home")
    with pytest.raises(StartupError, match="is a file"):
        opened(tmp_path / "home" / "below")
    assert (tmp_path / "home").read_text() == "hello"


def test_a_folder_with_other_things_in_it_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StartupError, match="not empty and is not a NomadCrew data folder"):
        opened(tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_newer_folder_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "folder.json").write_text('{"format": 2, "created_with": "7.0"}')
    before = contents(tmp_path)
    with pytest.raises(StartupError, match=r"newer NomadCrew \(7.0\)"):
        opened(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x"}', "\x00\xff"])
def test_an_unreadable_folder_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "folder.json").write_text(text)
    with pytest.raises(StartupError, match="cannot be read"):
        opened(tmp_path)


def test_a_database_of_another_major_version_is_refused_untouched(tmp_path: Path) -> None:
    home = opened(tmp_path / "home").home
    (home / "postgres" / "PG_VERSION").write_text("17\n")
    before = contents(home)
    with pytest.raises(StartupError, match="PostgreSQL 17, but this is PostgreSQL 18; make a backup"):
        opened(home)
    assert contents(home) == before


def test_a_database_moved_elsewhere_by_a_link_is_refused(tmp_path: Path) -> None:
    folder = opened(tmp_path / "home")
    folder.postgres.rename(tmp_path / "elsewhere")
    folder.postgres.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartupError, match="is a symbolic link"):
        folder.open(MAJOR)


def test_a_full_disk_is_refused_untouched(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="are needed; free some space"):
        DataFolder(tmp_path / "home", min_free=2**60).open(MAJOR)
    assert not (tmp_path / "home").exists()


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
def test_a_folder_this_user_cannot_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StartupError, match="cannot read and write"):
        opened(tmp_path / "home")
    tmp_path.chmod(0o700)


def test_a_path_where_no_folder_can_be_created_is_refused() -> None:
    with pytest.raises(StartupError, match="NOMADCREW_HOME"):
        opened(Path("/proc/nomadcrew"))


def test_a_path_with_a_too_long_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="File name too long"):
        opened(tmp_path.joinpath(*["x" * 250] * 20))


def test_a_second_host_is_refused_with_the_address_of_the_first(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    with folder.lock("http://127.0.0.1:8080"):
        refused = f"process {os.getpid()} at http://127.0.0.1:8080"
        with pytest.raises(StartupError, match=refused), DataFolder(tmp_path).lock():
            pass
    with DataFolder(tmp_path).lock():
        pass


def test_a_killed_host_leaves_no_lock_although_its_children_live(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time; from pathlib import Path; "
        "from nomadcrew.hosts.machine.data_folder import DataFolder\n"
        f"with DataFolder(Path({str(opened(tmp_path).home)!r})).lock('first'):\n"
        "    child = subprocess.Popen(['sleep', '30']); print(child.pid, flush=True); time.sleep(30)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        child = int(host.stdout.readline())
        with pytest.raises(StartupError, match=f"process {host.pid} at first"), DataFolder(tmp_path).lock():
            pass
        host.kill()
        host.wait()
        try:
            with DataFolder(tmp_path).lock():
                pass
        finally:
            os.kill(child, 9)


def test_a_file_is_written_for_its_owner_only_and_replaced_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "key", b"old and long")
    write_whole(tmp_path / "key", b"new")
    assert contents(tmp_path) == {"key": b"new"}
    assert mode(tmp_path / "key") == 0o600


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "key", b"new")
    assert contents(tmp_path) == {"key": None}


def test_the_files_of_interrupted_writes_are_removed_and_those_of_present_writes_are_left(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    documents, name = folder.files / "documents", "019a0000-0000-7000-8000-000000000001"
    documents.mkdir(parents=True)
    old, present, whole = partial(documents / name), partial(documents / name), documents / name
    for path in (old, present, whole):
        path.write_bytes(b"some")
    for path in (old, whole):
        os.utime(path, (0, 0))
    folder.remove_partial_writes()
    assert set(documents.iterdir()) == {present, whole}
