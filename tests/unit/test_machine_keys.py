"""The keys in the data folder."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nomadcrew.adapters.machine.keys import add_signing_key, open_keys, write_new


def test_keys_are_created_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = open_keys(folder)
    again = open_keys(folder)
    assert [key.thumbprint() for key in first.signing] == [key.thumbprint() for key in again.signing]
    secrets = (first.invitations, first.confirmations, first.files, first.addresses, first.webhooks)
    assert secrets == (again.invitations, again.confirmations, again.files, again.addresses, again.webhooks)
    assert len(set(secrets)) == 5
    names = sorted(path.name for path in folder.iterdir())
    secret_files = ["addresses.key", "confirmations.key", "files.key", "invitations.key"]
    assert names == [*secret_files, "signing-0001.pem", "webhooks.key"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())


def test_concurrent_hosts_create_the_same_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(open_keys, [tmp_path] * 4))
    assert len({keys.signing[0].thumbprint() for keys in opened}) == 1
    assert len({keys.invitations for keys in opened}) == 1


def test_a_new_signing_key_is_first_and_the_old_one_stays(tmp_path: Path) -> None:
    [old] = open_keys(tmp_path).signing
    add_signing_key(tmp_path)
    new, kept = open_keys(tmp_path).signing
    assert kept.thumbprint() == old.thumbprint() != new.thumbprint()


def test_a_secret_file_may_list_older_secrets(tmp_path: Path) -> None:
    [current] = open_keys(tmp_path).invitations
    older = "o" * 32
    with (tmp_path / "invitations.key").open("a") as file:
        file.write(f"\n{older}\n")
    assert open_keys(tmp_path).invitations == (current, older)


def test_file_permissions_are_corrected(tmp_path: Path) -> None:
    open_keys(tmp_path)
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    open_keys(tmp_path)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())


@pytest.mark.parametrize("name", ["signing-0001.pem", "invitations.key", "confirmations.key", "files.key"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    open_keys(tmp_path)
    (tmp_path / name).write_text("spoiled\n")
    with pytest.raises(ValueError, match=name):
        open_keys(tmp_path)


def test_a_public_key_is_not_a_signing_key(tmp_path: Path) -> None:
    [key] = open_keys(tmp_path).signing
    (tmp_path / "signing-0001.pem").write_bytes(key.as_pem(private=False))
    with pytest.raises(ValueError, match=r"signing-0001\.pem"):
        open_keys(tmp_path)


def test_a_file_is_written_atomically_and_never_overwritten(tmp_path: Path) -> None:
    assert write_new(tmp_path / "x", b"first")
    assert not write_new(tmp_path / "x", b"second")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"first")]
