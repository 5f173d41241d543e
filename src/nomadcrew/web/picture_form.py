"""Reads uploads of one picture: a form with the part `image`, or a body that is the picture."""

import hashlib
from collections.abc import Mapping
from typing import Any, BinaryIO, ClassVar

from nomadcrew.core.files.model import MAX_FILE_BYTES, FileTooLarge
from nomadcrew.web.form_data import Form, FormParser
from nomadcrew.web.multipart import FORM_TYPE, FormReader

_PICTURE: Mapping[str, Any] = {"type": "string", "format": "binary"}


class _ImageForm(FormReader):
    """A form with the part `image`, or `file`."""

    files = frozenset({"image", "file"})
    parts = "the part `image`"


class PictureReader:
    """Parses an upload piece by piece. `feed` writes to the file and may block."""

    content: ClassVar[Mapping[str, Any]] = {
        FORM_TYPE: {
            "schema": {"type": "object", "required": ["image"], "properties": {"image": _PICTURE}},
        },
        **{f"image/{name}": {"schema": _PICTURE} for name in ("jpeg", "png", "webp")},
    }

    def __init__(self, content_type: str, file: BinaryIO) -> None:
        """`file` is an empty temporary file, which the form owns then.

        Raises:
            BadForm: a form without a boundary.
        """
        is_form = content_type.partition(";")[0].strip().lower() == FORM_TYPE
        self._parser: FormParser = _ImageForm(content_type, file) if is_form else _Raw(file)

    def feed(self, piece: bytes) -> None:
        self._parser.feed(piece)

    def finish(self) -> Form:
        return self._parser.finish()


class _Raw:
    """A body that is the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size_bytes = 0
        self._hash = hashlib.sha256()

    def feed(self, piece: bytes) -> None:
        self._size_bytes += len(piece)
        if self._size_bytes > MAX_FILE_BYTES:
            raise FileTooLarge
        self._hash.update(piece)
        self._file.write(piece)

    def finish(self) -> Form:
        """The picture; a form without a file for an empty body."""
        if not self._size_bytes:
            self._file.close()
        return Form({}, self._file if self._size_bytes else None, self._size_bytes, self._hash.digest())
