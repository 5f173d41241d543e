"""Writes the ZIP of an archive piece by piece. Written pieces are on the disk; memory holds a file at most."""

import zipfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import BinaryIO, Self

from msgspec import Struct
from msgspec.json import Encoder

from nomadcrew.core.archives.model import TRIP

SPOOLED_BYTES = 256 * 1024  # in memory, of each text
_COPY_BYTES = 64 * 1024
# Texts are packed; pictures and PDF documents are packed already.
_PACKED_LEVEL = 6


class TooLarge(Exception):
    """The archive exceeds the size that its reader accepts."""


class TextEntry:
    """A text of the archive, which is added at the end."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115 — `close` closes it

    def write(self, text: str | bytes) -> None:
        self._file.write(text.encode() if isinstance(text, str) else text)

    @property
    def size_bytes(self) -> int:
        return self._file.tell()

    def copy_to(self, target: BinaryIO) -> None:
        self._file.seek(0)
        while chunk := self._file.read(_COPY_BYTES):
            target.write(chunk)

    def close(self) -> None:
        self._file.close()


class JsonText:
    """`trip.json`: an object with one member or item per line, written as its parts are read."""

    def __init__(self, entry: TextEntry) -> None:
        self._entry = entry
        self._encode = Encoder().encode
        self._members = self._items = 0

    def member(self, key: str, value: object) -> None:
        self._begin(key)
        self._entry.write(self._encode(value))

    def members_of(self, struct: Struct) -> None:
        """Each field of a struct as a member."""
        for field, key in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True):
            self.member(key, getattr(struct, field))

    def begin_list(self, key: str) -> None:
        self._begin(key)
        self._entry.write(b"[")
        self._items = 0

    def item(self, value: object) -> None:
        self._entry.write(b",\n" if self._items else b"\n")
        self._entry.write(self._encode(value))
        self._items += 1

    def end_list(self) -> None:
        self._entry.write(b"\n]")

    def end(self) -> None:
        self._entry.write(b"\n}\n")

    def _begin(self, key: str) -> None:
        self._entry.write(b",\n" if self._members else b"{\n")
        self._entry.write(self._encode(key) + b": ")
        self._members += 1


class Packing:
    """The ZIP that is written to `file`."""

    def __init__(
        self, file: BinaryIO, texts: Mapping[str, TextEntry], now: datetime, max_bytes: int | None
    ) -> None:
        """`max_bytes` None means any size."""
        self._file = file
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_PACKED_LEVEL)
        self._texts = texts
        self._time = now.timetuple()[:6]
        self._max_bytes = max_bytes

    def add_file(self, name: str, content: bytes) -> None:
        """Add a file as it is.

        Raises:
            TooLarge: the archive exceeds its size.
        """
        info = zipfile.ZipInfo(name, self._time)
        self._zip.writestr(info, content, zipfile.ZIP_STORED)
        self.check()

    def check(self) -> None:
        """Raise `TooLarge` if the files, or the texts even if they pack well, exceed the size."""
        if self._max_bytes is None:
            return
        texts_bytes = sum(text.size_bytes for text in self._texts.values())
        if self._file.tell() > self._max_bytes or texts_bytes > 16 * self._max_bytes:
            raise TooLarge

    def finish(self) -> None:
        """Add the texts, and the directory.

        Raises:
            TooLarge: the archive exceeds its size.
        """
        for name, text in sorted(self._texts.items(), key=lambda named: named[0] != TRIP):
            info = zipfile.ZipInfo(name, self._time)
            info.compress_type = zipfile.ZIP_DEFLATED
            with self._zip.open(info, "w", force_zip64=text.size_bytes > 2**31) as target:
                text.copy_to(target)  # type: ignore[arg-type]
        self._zip.close()
        self.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After a failure too: a file that is not closed writes to its target whenever it is collected.
        with suppress(OSError, ValueError):
            self._zip.close()
        for text in self._texts.values():
            text.close()
