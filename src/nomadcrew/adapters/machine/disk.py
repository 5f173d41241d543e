"""Files that are there whole or not at all, whatever happens to the machine."""

import os
import secrets
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` into `path`, readable by its owner only, in the place of what was there.

    Raises:
        OSError: the disk refused; `path` is as it was.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    # O_EXCL follows no link, so that nobody who can write to the folder can direct the write elsewhere.
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
