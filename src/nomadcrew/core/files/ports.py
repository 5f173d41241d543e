"""Port of file storage."""

from datetime import datetime, timedelta
from typing import Protocol

from nomadcrew.core.files.model import FileKind

LINK_LIFETIME = timedelta(minutes=15)


class Files(Protocol):
    """Durable files by key. A key consists of lower-case words and ids between slashes.

    Every method raises `Unavailable` in an outage.
    """

    async def put(self, key: str, content: bytes, kind: FileKind) -> None:
        """Store a file atomically, replacing the file of an existing key."""
        ...

    def link(self, key: str, kind: FileKind, name: str, *, now: datetime) -> str:
        """A download link with the given file name, valid for `LINK_LIFETIME` without further authentication.

        Does not check that the file exists; the link of a deleted file answers 404.
        """
        ...

    async def delete(self, key: str) -> None:
        """Delete a file, if it exists."""
        ...
