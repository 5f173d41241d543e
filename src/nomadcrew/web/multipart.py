"""Reads multipart forms as they arrive: small fields into memory, one file to disk."""

import hashlib
from collections.abc import Mapping
from typing import Any, BinaryIO, ClassVar

import multipart

from nomadcrew.core.errors import Invalid
from nomadcrew.core.files.model import MAX_FILE_BYTES, FileTooLarge
from nomadcrew.web.form_data import Form

FORM_TYPE = "multipart/form-data"
MAX_PARTS = 16
MAX_FIELD_BYTES = 256 * 2**10  # of all fields together


class BadForm(Invalid):
    code = "invalid_form"
    text = "The form cannot be read."


class FormReader:
    """Parses a form piece by piece. `feed` writes to the file and may block.

    `files` are the names of the part that is the file; `parts` tells a client how to send it.
    """

    files = frozenset({"file"})
    parts = "the parts `file` and `metadata`"
    content: ClassVar[Mapping[str, Any]] = {
        FORM_TYPE: {
            "schema": {
                "type": "object",
                "required": ["file", "metadata"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "metadata": {"type": "string", "contentMediaType": "application/json"},
                },
            }
        }
    }

    def __init__(self, content_type: str, file: BinaryIO) -> None:
        """`file` is an empty temporary file, which the form owns then.

        Raises:
            BadForm: another type of content, or one without a boundary.
        """
        kind, options = multipart.parse_options_header(content_type)
        if kind.lower() != FORM_TYPE or not options.get("boundary"):
            raise self._bad("content-type")
        self._file = file
        self._fields: dict[str, bytearray] = {}
        self._field_bytes = 0
        self._size_bytes = 0
        self._hash = hashlib.sha256()
        self._name: str | None = None  # of the field that arrives
        self._in_file = self._has_file = False
        try:
            self._parser = multipart.PushMultipartParser(
                options["boundary"], max_segment_count=MAX_PARTS, strict=False
            )
        except (multipart.MultipartError, UnicodeError):
            raise self._bad("boundary") from None

    def feed(self, piece: bytes) -> None:
        """Parse a piece.

        Raises:
            BadForm: it is not part of a form, or the fields are too long.
            FileTooLarge: the file exceeds `MAX_FILE_BYTES`.
            OSError: the disk refuses the file.
        """
        if not piece:
            return
        try:
            for event in self._parser.parse(piece):
                self._take(event)
        except (multipart.MultipartError, UnicodeError):
            raise self._bad() from None

    def finish(self) -> Form:
        """The form.

        Raises:
            BadForm: it is incomplete.
        """
        try:
            self._parser.close()
        except multipart.MultipartError:
            raise self._bad("incomplete") from None
        if not self._has_file:
            self._file.close()
        digest = hashlib.sha256(self._hash.digest())
        fields = {name: bytes(value) for name, value in self._fields.items()}
        for name, value in sorted(fields.items()):
            digest.update(b"%s\0%d\0" % (name.encode(errors="surrogatepass"), len(value)) + value)
        return Form(fields, self._file if self._has_file else None, self._size_bytes, digest.digest())

    def _bad(self, details: str | None = None) -> BadForm:
        return BadForm(f"{BadForm.text} Send `{FORM_TYPE}` with {self.parts}.", details=details)

    def _take(self, event: Any) -> None:
        if event is None:
            self._name, self._in_file = None, False
        elif isinstance(event, bytes | bytearray):
            self._add(bytes(event))
        else:
            self._begin(event.name or "")

    def _begin(self, name: str) -> None:
        """A part begins. Of repeated parts the first counts."""
        if name in self.files:
            self._in_file = not self._has_file
            self._has_file = True
        elif name not in self._fields:
            self._name = name
            self._fields[name] = bytearray()

    def _add(self, data: bytes) -> None:
        if self._in_file:
            self._size_bytes += len(data)
            if self._size_bytes > MAX_FILE_BYTES:
                raise FileTooLarge
            self._hash.update(data)
            self._file.write(data)
        elif self._name is not None:
            self._field_bytes += len(data)
            if self._field_bytes > MAX_FIELD_BYTES:
                raise BadForm("The fields of the form are too long.", details="fields")
            self._fields[self._name] += data
