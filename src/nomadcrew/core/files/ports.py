"""What the product needs from whoever keeps files."""

from datetime import datetime, timedelta
from typing import Protocol

from nomadcrew.core.files.model import FileKind

LINK_LIFETIME = timedelta(minutes=15)


class Files(Protocol):
    """Files of people, durable, each under a key that is ours: lower-case words and ids between slashes.

    Every method raises `Unavailable` when the files cannot be reached just now.
    """

    async def put(self, key: str, content: bytes, kind: FileKind) -> None:
        """Keep a file, all of it or nothing; under a key that is taken it replaces what is there."""
        ...

    def link(self, key: str, kind: FileKind, name: str, *, now: datetime) -> str:
        """An address that gives the file to whoever has it for `LINK_LIFETIME`, as a download of that name.

        It is made without a look at the files; that of a file which is gone leads to nothing.
        """
        ...

    async def delete(self, key: str) -> None:
        """Forget a file; nothing where there is none."""
        ...
