"""Reads a body that is one file to disk, as it arrives."""

import hashlib
from typing import BinaryIO

from nomadcrew.core.errors import Invalid
from nomadcrew.web.form_data import Form

ANY_TYPE = "application/octet-stream"  # of clients that do not know the type


class BadContentType(Invalid):
    code = "invalid_content_type"

    def __init__(self, expected: str) -> None:
        super().__init__(f"The Content-Type of this body must be `{expected}`.")


class FileReader:
    """As `FormReader`, for a body that is a file of one media type. `feed` writes to the file."""

    def __init__(self, media_type: str, content_type: str, file: BinaryIO) -> None:
        """`file` is an empty temporary file, which the form owns then.

        Raises:
            BadContentType: the body has another type.
        """
        if content_type.partition(";")[0].strip().lower() not in (media_type, ANY_TYPE):
            raise BadContentType(media_type)
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
