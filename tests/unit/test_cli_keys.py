"""`nomadcrew keys` lists and rotates the signing keys of a data folder."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nomadcrew.adapters.machine.keys import open_keys
from nomadcrew.cli import nomadcrew
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import StartupError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    monkeypatch.setenv("NOMADCREW_HOME", str(tmp_path / "home"))
    return DataFolder(tmp_path / "home")


def keys(command: str) -> Result:
    return CliRunner().invoke(nomadcrew, ["keys", command])


def test_rotate_adds_a_key_that_signs_while_the_older_one_still_verifies(folder: DataFolder) -> None:
    folder.open(18)
    [older] = open_keys(folder.keys).signing
    result = keys("rotate")
    assert result.exit_code == 0
    assert result.output == f"Added {folder.keys / 'signing-0002.pem'}. Restart the server to sign with it.\n"
    newer, verifying = open_keys(folder.keys).signing
    assert newer.as_pem() != older.as_pem()
    assert verifying.as_pem() == older.as_pem()


def test_list_shows_the_signing_key_first(folder: DataFolder) -> None:
    folder.open(18)
    open_keys(folder.keys)
    keys("rotate")
    assert keys("list").output.splitlines() == [
        str(folder.keys / "signing-0002.pem"),
        str(folder.keys / "signing-0001.pem"),
    ]


@pytest.mark.parametrize("command", ["list", "rotate"])
def test_an_empty_folder_is_refused(folder: DataFolder, command: str) -> None:
    result = keys(command)
    assert isinstance(result.exception, StartupError)
    assert not folder.keys.exists()
