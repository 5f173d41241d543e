"""Port of file storage."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import BinaryIO, Protocol

from msgspec import Struct

from nomadcrew.core.files.model import FileKind

LINK_LIFETIME = timedelta(minutes=15)


class DirectUpload(Struct, frozen=True):
    """A request with which a client uploads a file to the store itself, without further authentication.

    With `fields`, the body is a multipart form: these fields, then the file as `file`. Without, it is the file.
    """

    method: str
    url: str
    fields: Mapping[str, str]


class Beginning(Struct, frozen=True):
    """The first bytes of a stored file, and its size."""

    head: bytes
    size_bytes: int


class Files(Protocol):
    """Durable files by key. A key consists of lower-case words and ids between slashes.

    Every method raises `Unavailable` in an outage.
    """

    async def put(self, key: str, content: bytes, kind: FileKind) -> None:
        """Store a file atomically, replacing the file of an existing key."""
        ...

    async def store(self, key: str, file: BinaryIO, kind: FileKind) -> None:
        """As `put`, with the contents of an open file from its beginning."""
        ...

    def link(
        self, key: str, kind: FileKind, name: str, *, now: datetime, lifetime: timedelta = LINK_LIFETIME
    ) -> str:
        """A download link with the given file name, valid for `lifetime` without further authentication.

        Does not check that the file exists; the link of a deleted file answers 404.
        """
        ...

    def direct_upload(
        self, key: str, kind: FileKind, size_bytes: int, *, now: datetime, lifetime: timedelta
    ) -> DirectUpload:
        """A request that stores a file of exactly that size, valid for `lifetime`."""
        ...

    async def beginning(self, key: str, length: int) -> Beginning | None:
        """The size of a file and its first `length` bytes; None without such a file."""
        ...

    async def fetch(self, key: str, into: BinaryIO, *, max_bytes: int) -> int | None:
        """Write the first `max_bytes` of a file into an open one, from its beginning.

        Returns the size of the whole file, None without such a file.
        """
        ...

    async def delete(self, key: str) -> None:
        """Delete a file, if it exists."""
        ...
