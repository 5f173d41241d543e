"""Atomic writes of files: complete or absent, even after a crash of the machine."""

import contextlib
import os
import re
import secrets
import shutil
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

# A probe takes as much as some writes of the database do.
PROBE_BYTES = 64 * 1024
# Copied at a time.
COPY_BYTES = 64 * 1024
_PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def partial(path: Path) -> Path:
    """A new name beside `path` for its contents until they are complete."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def remove_partial(folder: Path, *, before_s: float) -> int:
    """Remove the files of writes that a kill interrupted; returns their number.

    Args:
        before_s: Unix time. A file that was changed later may still be written.

    Raises:
        OSError: the disk refused.
    """
    removed = 0
    for inner, _, names in os.walk(folder):
        for path in (Path(inner, name) for name in names if _PARTIAL.fullmatch(name)):
            with contextlib.suppress(FileNotFoundError):  # its writer has just renamed it
                if path.stat().st_mtime < before_s:
                    path.unlink()
                    removed += 1
    return removed


def write_whole(path: Path, data: bytes) -> None:
    """As `copy_whole`, with the contents in memory."""
    copy_whole(path, BytesIO(data))


def copy_whole(path: Path, source: BinaryIO) -> None:
    """Replace the contents of `path` by those of an open file, with mode 0600.

    Raises:
        OSError: the disk refused; `path` is unchanged.
    """
    part = partial(path)
    # O_EXCL does not follow links, so users with write access to the folder cannot redirect the write.
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            shutil.copyfileobj(source, file, COPY_BYTES)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def try_to_write(path: Path) -> None:
    """Write a little data to `path`, sync it and delete it.

    Raises:
        OSError: the disk refused, because it is full, read-only or broken.
    """
    try:
        with path.open("wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Sync renames inside `folder` to the disk, so that they survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
