"""Reads a body that is one file to disk, as it arrives."""

import hashlib
from collections.abc import Mapping
from typing import Any, BinaryIO, ClassVar

from nomadcrew.core.errors import Invalid
from nomadcrew.web.form_data import Form

ZIP_TYPE = "application/zip"
ANY_TYPE = "application/octet-stream"  # of clients that do not know the type
_FILE: Mapping[str, Any] = {"type": "string", "format": "binary"}


class BadContentType(Invalid):
    code = "invalid_content_type"
    text = f"The Content-Type of this body must be `{ZIP_TYPE}`."


class ZipReader:
    """As `FormReader`, for a body that is a ZIP. `feed` writes to the file."""

    content: ClassVar[Mapping[str, Any]] = {name: {"schema": _FILE} for name in (ZIP_TYPE, ANY_TYPE)}

    def __init__(self, content_type: str, file: BinaryIO) -> None:
        """`file` is an empty temporary file, which the form owns then.

        Raises:
            BadContentType: the body has another type.
        """
        if content_type.partition(";")[0].strip().lower() not in self.content:
            raise BadContentType
        self._file = file
        self._size_bytes = 0
        self._hash = hashlib.sha256()

    def feed(self, piece: bytes) -> None:
        """Write a piece.

        Raises:
            OSError: the disk refuses it.
        """
        self._size_bytes += len(piece)
        self._hash.update(piece)
        self._file.write(piece)

    def finish(self) -> Form:
        return Form({}, self._file, self._size_bytes, self._hash.digest())
