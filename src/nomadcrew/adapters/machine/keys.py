"""The keys of one machine, in its data folder: for access tokens, links in mails and to files, private addresses.

`signing-0001.pem` is created on first use. To rotate, `add_signing_key` adds a file with a higher number: the
highest signs, all of them verify. `invitations.key`, `confirmations.key`, `files.key`, `addresses.key` and
`webhooks.key` have one secret per line: the first signs, all of them verify.
"""

import base64
import os
import re
import secrets
from pathlib import Path

from joserfc.jwk import RSAKey
from msgspec import Struct

from nomadcrew.adapters.machine.disk import partial, sync_folder

SIGNING_BITS = 2048
SECRET_BYTES = 32
_SIGNING = re.compile(r"signing-(\d{4})\.pem")


class Keys(Struct, frozen=True):
    """All keys, each tuple in order: the first one signs."""

    signing: tuple[RSAKey, ...]
    invitations: tuple[str, ...]
    confirmations: tuple[str, ...]
    files: tuple[str, ...]
    addresses: tuple[str, ...]
    webhooks: tuple[str, ...]


def open_keys(folder: Path) -> Keys:
    """The keys in `folder`; missing ones are created. Reads and writes files: use it at the start only.

    Raises:
        OSError: the folder cannot be read or written.
        ValueError: a file has no valid key; the message names it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not signing_files(folder):
        _create(folder / "signing-0001.pem", _new_signing_key())
    return Keys(
        tuple(_signing_key(path) for path in reversed(signing_files(folder))),
        _secrets(folder / "invitations.key"),
        _secrets(folder / "confirmations.key"),
        _secrets(folder / "files.key"),
        _secrets(folder / "addresses.key"),
        _secrets(folder / "webhooks.key"),
    )


def add_signing_key(folder: Path) -> Path:
    """Add a new signing key; hosts use it from their next start.

    Raises:
        OSError: the folder cannot be written.
    """
    numbers = [int(path.stem.removeprefix("signing-")) for path in signing_files(folder)]
    path = folder / f"signing-{max(numbers, default=0) + 1:04d}.pem"
    _create(path, _new_signing_key())
    return path


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> bool:
    """Write a new file atomically; False if it exists already.

    Raises:
        OSError: the disk refused; the file does not exist.
    """
    part = partial(path)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link fails if another process has just created the file.
        path.hardlink_to(part)
    except FileExistsError:
        return False
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def signing_files(folder: Path) -> list[Path]:
    """The signing keys, oldest first."""
    return sorted(path for path in folder.iterdir() if _SIGNING.fullmatch(path.name))


def _new_signing_key() -> bytes:
    return RSAKey.generate_key(SIGNING_BITS, private=True).as_pem(private=True)


def _signing_key(path: Path) -> RSAKey:
    try:
        key = RSAKey.import_key(_read(path))
    except ValueError as error:
        raise ValueError(f"{path} has no valid signing key; restore it from a backup or delete it.") from error
    if not key.is_private or key.raw_value.key_size < SIGNING_BITS:
        raise ValueError(f"{path} has no private RSA key of at least {SIGNING_BITS} bits.")
    return key


def _secrets(path: Path) -> tuple[str, ...]:
    _create(path, base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)) + b"\n")
    values = tuple(line.strip() for line in _read(path).decode().splitlines() if line.strip())
    if not values or any(len(secret) < SECRET_BYTES for secret in values):
        raise ValueError(f"{path} needs secrets of at least {SECRET_BYTES} characters; restore it, or delete it.")
    return values


def _create(path: Path, data: bytes) -> None:
    if not path.exists():
        write_new(path, data)


def _read(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)  # a restore from a backup may lose the mode
    return path.read_bytes()
