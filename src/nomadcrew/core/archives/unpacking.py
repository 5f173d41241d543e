"""Opens the ZIP of an archive, which may be hostile.

Entries are never written to a path: they are read by the names that archives have. All that a directory says is
checked before it is believed, and all that is unpacked is counted.
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from types import TracebackType
from typing import IO, BinaryIO, NoReturn, Self

from nomadcrew.core.archives.errors import ArchiveTooLarge, BadArchive
from nomadcrew.core.archives.limits import (
    MAX_ARCHIVE_BYTES,
    MAX_DIRECTORY_BYTES,
    MAX_ENTRIES,
    MAX_JSON_BYTES,
    MAX_RATIO,
    MAX_UNPACKED_BYTES,
    SMALL_BYTES,
)
from nomadcrew.core.archives.model import TRIP
from nomadcrew.core.files.model import MAX_FILE_BYTES

CHUNK_BYTES = 64 * 1024
# The end of the directory, without a comment: number of entries, size and place of the directory.
_END = struct.Struct("<4s4H2LH")
_END_MARK, _ZIP64_MARK = b"PK\x05\x06", b"PK\x06\x07"
_ZIP64_END_BYTES = 20
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)


class Entry:
    """An open entry. Reading it to the end checks its size and its CRC."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name

    def read(self, size: int = CHUNK_BYTES, /) -> bytes:
        """The next bytes, empty at the end.

        Raises:
            BadArchive: the entry is damaged.
        """
        try:
            return self._file.read(size)
        except _FAULTS:
            _refuse("damaged", self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class Unpacking:
    """The entries of a ZIP that fulfils all limits."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        """`file` stays the caller's.

        Raises:
            BadArchive: it is no ZIP, or one that archives never are.
            ArchiveTooLarge: it exceeds a limit.
        """
        _check_end(file, size_bytes)
        try:
            self._zip = zipfile.ZipFile(file)
        except _FAULTS:
            _refuse("it is no ZIP")
        self._entries = _checked(self._zip.infolist())

    def open(self, name: str) -> Entry:
        """An entry.

        Raises:
            BadArchive: there is no such entry, or it is damaged.
        """
        info = self._entries.get(name)
        if info is None:
            _refuse("missing", name)
        try:
            return Entry(self._zip.open(info), name)
        except _FAULTS:
            _refuse("damaged", name)

    def read(self, name: str) -> bytes:
        """The whole of an entry that is a file of at most `MAX_FILE_BYTES`.

        Raises:
            BadArchive: as `open` says.
            ArchiveTooLarge: it is larger.
        """
        with self.open(name) as entry:
            content = entry.read(MAX_FILE_BYTES + 1)
            if len(content) > MAX_FILE_BYTES or entry.read(1):
                raise ArchiveTooLarge(details=f"{name}: larger than a file")
            return content


def _check_end(file: BinaryIO, size_bytes: int) -> None:
    """Check the end of the directory, which decides how much of it would be read."""
    if size_bytes > MAX_ARCHIVE_BYTES:
        raise ArchiveTooLarge
    if size_bytes < _END.size:
        _refuse("it is no ZIP")
    start = max(0, size_bytes - _END.size - _ZIP64_END_BYTES)
    file.seek(start)
    tail = file.read(size_bytes - start)
    mark, disk, first_disk, here, entries, directory_bytes, _, comment = _END.unpack(tail[-_END.size :])
    if mark != _END_MARK or comment:
        _refuse("it does not end as a ZIP without a comment does")
    if tail.startswith(_ZIP64_MARK) and len(tail) == _END.size + _ZIP64_END_BYTES:
        _refuse("ZIP64 is not accepted")
    if disk or first_disk or here != entries:
        _refuse("it has several parts")
    if entries > MAX_ENTRIES or directory_bytes > MAX_DIRECTORY_BYTES:
        raise ArchiveTooLarge(f"An archive must not have more than {MAX_ENTRIES:,} files.")


def _checked(infos: list[zipfile.ZipInfo]) -> Mapping[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    unpacked_bytes = 0
    if len(infos) > MAX_ENTRIES:
        raise ArchiveTooLarge(f"An archive must not have more than {MAX_ENTRIES:,} files.")
    for info in infos:
        _check_entry(info)
        if info.filename in entries:
            _refuse("two entries have one name")
        unpacked_bytes += info.file_size
        entries[info.filename] = info
    if unpacked_bytes > MAX_UNPACKED_BYTES:
        raise ArchiveTooLarge(f"An archive must not unpack to more than {MAX_UNPACKED_BYTES >> 20} MiB.")
    if TRIP not in entries:
        _refuse("missing", TRIP)
    return entries


def _check_entry(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    if name != info.filename or "\\" in name or name.startswith("/") or ":" in name or ".." in name.split("/"):
        _refuse("the name of an entry leads out of the archive")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        _refuse("an entry is neither a file nor a folder")
    if info.flag_bits & _ENCRYPTED:
        _refuse("an entry is encrypted")
    if info.compress_type not in _METHODS:
        _refuse("an entry is packed by another method than deflate")
    most = MAX_JSON_BYTES if name == TRIP else MAX_FILE_BYTES
    if info.file_size > most and (name == TRIP or "/" in name):
        raise ArchiveTooLarge(details=f"an entry exceeds {most >> 20} MiB")
    if info.file_size > SMALL_BYTES and info.file_size > MAX_RATIO * info.compress_size:
        raise ArchiveTooLarge("An entry of the archive unpacks to far more than its size.")


def _refuse(details: str, name: str = "") -> NoReturn:
    raise BadArchive(details=f"{name}: {details}" if name else details)
