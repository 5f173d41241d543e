"""The file format of a backup.

A tar whose first entry is `manifest.json`, with the size and checksum of every other part: `database.dump`, in the
format of pg_dump that every later PostgreSQL reads, and the files of the saved folders under their own names.
"""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from nomadcrew import __version__
from nomadcrew.hosts.machine.errors import StartupError

FORMAT = 2  # format 1 had no `files`
SAVED_FOLDERS = ("keys", "files")
MANIFEST, DUMP = "manifest.json", "database.dump"
_MANIFEST_MAX_BYTES = 256 * 2**20  # enough for a million files
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A part's entry in the manifest: size in bytes, checksum in hexadecimal."""

    size: int
    sha256: str


def write_archive(path: Path, parts: Mapping[str, IO[bytes] | Path], *, postgres: str) -> None:
    """Write a new file with mode 0600 and sync it to the disk.

    Args:
        parts: by name in the archive: a seekable file, or the path of a file that does not change meanwhile.
        postgres: the version of the dumped database.

    Raises:
        OSError: the disk refused; the caller removes the incomplete file.
    """
    measured: dict[str, ArchivedFile] = {}
    for name, part in parts.items():
        with _opened(part) as content:
            measured[name] = _measure(content)
    manifest = _manifest(measured, postgres)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, part in {MANIFEST: BytesIO(manifest), **parts}.items():
                entry = tarfile.TarInfo(name)
                with _opened(part) as content:
                    entry.size, entry.mode = content.seek(0, os.SEEK_END), 0o600
                    content.seek(0)
                    tar.addfile(entry, content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _opened(part: IO[bytes] | Path) -> Iterator[IO[bytes]]:
    """A part, opened for reading; files are opened one at a time."""
    if isinstance(part, Path):
        with part.open("rb") as file:
            yield file
    else:
        yield part


class Archive:
    """A backup open for reading."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self._path = path
        self._tar = tar
        self._entries: dict[str, tarfile.TarInfo] = {}

    def verify(self, postgres_major: int) -> list[str]:
        """Read the whole archive once and return the names of its parts, all intact and with allowed names.

        Raises:
            StartupError: the archive is damaged, is not a backup, or is newer than this version or this PostgreSQL.
        """
        first = self._tar.next()
        if first is None or first.name != MANIFEST or first.size > _MANIFEST_MAX_BYTES:
            raise self._damaged("it is not a NomadCrew backup")
        expected = self._parts_in(self._open(first).read(), postgres_major)
        entries = self._tar.getmembers()[1:]
        if sorted(entry.name for entry in entries) != sorted(expected) or DUMP not in expected:
            raise self._damaged("its parts differ from its manifest")
        for entry in entries:
            if not _is_allowed(entry) or _measure(self._open(entry)) != expected[entry.name]:
                raise self._damaged(f"{entry.name} does not match its checksum")
        self._entries = {entry.name: entry for entry in entries}
        return list(expected)

    def extract(self, name: str, to: Path) -> None:
        """Write a verified part into the new file `to`, with mode 0600.

        Raises:
            OSError: the disk refused.
        """
        content = self._open(self._entries[name])
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            while chunk := content.read(_CHUNK):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())

    def _parts_in(self, manifest: bytes, postgres_major: int) -> dict[str, ArchivedFile]:
        try:
            content: Any = json.loads(manifest)
            version, postgres = int(content["format"]), str(content["postgres"])
            newer = version > FORMAT or int(postgres.split(".")[0]) > postgres_major
            parts = {} if newer else {name: ArchivedFile(**part) for name, part in content["parts"].items()}
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise self._damaged("its manifest cannot be read") from exc
        if newer:
            raise StartupError(
                f"{self._path} was written by a newer NomadCrew ({content.get('nomadcrew')}, "
                f"PostgreSQL {postgres}); restore it with that version."
            )
        return parts

    def _open(self, entry: tarfile.TarInfo) -> IO[bytes]:
        content = self._tar.extractfile(entry) if entry.isreg() else None
        if content is None:
            raise self._damaged(f"{entry.name} is not a file")
        return content

    def _damaged(self, why: str) -> StartupError:
        return StartupError(f"{self._path} cannot be restored: {why}; use another backup.")


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a backup for the block.

    Raises:
        StartupError: the file is damaged.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            yield Archive(path, tar)
    except tarfile.TarError as exc:
        raise StartupError(f"{path} cannot be restored: it is damaged ({exc}); use another backup.") from exc


def _is_allowed(entry: tarfile.TarInfo) -> bool:
    """True if a part may be extracted under its name: only inside the saved folders."""
    path = PurePosixPath(entry.name)
    inside = len(path.parts) > 1 and path.parts[0] in SAVED_FOLDERS and ".." not in path.parts
    return entry.name == DUMP or inside


def _manifest(parts: Mapping[str, ArchivedFile], postgres: str) -> bytes:
    content = {
        "format": FORMAT,
        "nomadcrew": __version__,
        "postgres": postgres,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "parts": {name: {"size": part.size, "sha256": part.sha256} for name, part in parts.items()},
    }
    return json.dumps(content, indent=1).encode()


def _measure(content: IO[bytes]) -> ArchivedFile:
    content.seek(0)
    digest, size = hashlib.sha256(), 0
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return ArchivedFile(size, digest.hexdigest())
