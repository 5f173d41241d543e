"""A form with one file, as a handler gets it."""

from collections.abc import Mapping
from typing import Any, BinaryIO, Protocol

from msgspec import Struct

from nomadcrew.core.files.model import MAX_FILE_BYTES

# A file and a little more.
MAX_FORM_BYTES = MAX_FILE_BYTES + 2**20


class Form(Struct, frozen=True):
    """A form with one file. `digest` is that of its contents, whatever the boundary is.

    `file` is temporary: its reader closes it. It is None in a form without a file.
    """

    fields: Mapping[str, bytes]
    file: BinaryIO | None
    size_bytes: int
    digest: bytes

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


class FormParser(Protocol):
    """Parses a form piece by piece; see `FormReader`."""

    def feed(self, piece: bytes) -> None: ...

    def finish(self) -> Form: ...


class MakeParser(Protocol):
    """Makes the parser of a form from its content type and an empty file. Only functions with forms import one.

    `content` describes the body to OpenAPI, by media type.
    """

    content: Mapping[str, Any]

    def __call__(self, content_type: str, file: BinaryIO) -> FormParser: ...
