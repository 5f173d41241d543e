"""Serves the links to files on one machine; on AWS, S3 serves its own links."""

import asyncio
from collections.abc import AsyncIterator
from typing import BinaryIO
from urllib.parse import quote

from nomadcrew.adapters.machine.disk_files import FILES, DiskFiles
from nomadcrew.core.errors import TooMany
from nomadcrew.core.ports import Ports
from nomadcrew.web.call import Reply

# Read at a time: as much as waits for a slow client.
CHUNK_BYTES = 64 * 1024


class FileReply(Reply, frozen=True, kw_only=True):
    """A reply whose body is in a file; it must be sent or closed."""

    file: BinaryIO
    size: int

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file in pieces.

        Raises:
            OSError: it cannot be read, or is shorter than it was.
        """
        left = self.size
        while left:
            chunk = await asyncio.to_thread(self.file.read, min(CHUNK_BYTES, left))
            if not chunk:
                raise OSError("a file became shorter while it was sent")
            left -= len(chunk)
            yield chunk


class Downloads:
    """Files under `/v1/files/`, for clients with a valid link."""

    def __init__(self, ports: Ports) -> None:
        """Raises TypeError: the files of these ports are not on the disk."""
        if not isinstance(ports.files, DiskFiles):
            raise TypeError("Downloads serves files on this machine's disk only.")
        self._files = ports.files
        self._limits = ports.limits
        self._clock = ports.clock

    async def answer(self, path: str, client_ip: str) -> FileReply:
        """The file of a link, as a download, so that browsers neither run nor show it under our origin.

        Raises:
            NotFound: the link is invalid or has expired.
            TooMany: this client address exceeds the rate limit.
        """
        allowance = await self._limits.spend("default", client_ip)
        if not allowance.allowed:
            raise TooMany(allowance.retry_after_s)
        file = await self._files.follow(path.removeprefix(FILES), now=self._clock())
        return FileReply(
            200,
            file=file.file,
            size=file.size,
            headers={
                "content-type": file.kind.value,
                "content-disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
                "content-security-policy": "default-src 'none'; sandbox",
                "cache-control": "private, max-age=900",
            },
        )
