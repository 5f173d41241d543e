"""Serves the links to files on one machine; on AWS, S3 serves its own links."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import BinaryIO
from urllib.parse import quote

from nomadcrew.adapters.machine.disk_files import FILES, DiskFiles
from nomadcrew.core.errors import Invalid, TooMany
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.machine.http.bodies import IncomingBody
from nomadcrew.web.call import Reply
from nomadcrew.web.dispatch import refuse_encoding

# Read at a time: as much as waits for a slow client.
CHUNK_BYTES = 64 * 1024
# Several ranges are answered as a whole, as RFC 9110 allows (section 14.2).
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class WrongSize(Invalid):
    code = "wrong_size"
    text = "The file does not have the size that was announced. Reserve it again with its size."


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

    async def answer(self, path: str, client_ip: str, headers: Mapping[str, str]) -> Reply:
        """The file of a link, or the range of it that `headers` ask for.

        As a download, so that browsers neither run nor show it under our origin.

        Raises:
            NotFound: the link is invalid or has expired.
            TooMany: this client address exceeds the rate limit.
        """
        await self._spend(client_ip)
        file = await self._files.follow(path.removeprefix(FILES), now=self._clock())
        about = {
            "content-type": file.kind.value,
            "content-disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
            "content-security-policy": "default-src 'none'; sandbox",
            "cache-control": "private, max-age=900",
            "accept-ranges": "bytes",
        }
        part = wanted_range(headers, file.size)
        if part is None:
            return FileReply(200, file=file.file, size=file.size, headers=about)
        if not part:
            file.file.close()
            return Reply(416, headers={"content-range": f"bytes */{file.size}"})
        file.file.seek(part.start)
        about["content-range"] = f"bytes {part.start}-{part.stop - 1}/{file.size}"
        return FileReply(206, file=file.file, size=len(part), headers=about)

    async def receive(self, path: str, client_ip: str, body: IncomingBody, headers: Mapping[str, str]) -> Reply:
        """Store the body as the file that the link of an upload admits.

        Raises:
            NotFound: the link is invalid or has expired.
            TooMany: this client address exceeds the rate limit.
            WrongSize: the body has another size than the link admits.
            SlowBody, Unavailable: as `IncomingBody.to_disk` says.
        """
        await self._spend(client_ip)
        expected = self._files.expected(path.removeprefix(FILES), now=self._clock())
        refuse_encoding(headers)
        file, size = await body.to_disk(client_ip, expected.size_bytes)
        with file:
            if size != expected.size_bytes:
                raise WrongSize
            await self._files.store(expected.key, file, expected.kind)
        return Reply(204)

    async def _spend(self, client_ip: str) -> None:
        allowance = await self._limits.spend("default", client_ip)
        if not allowance.allowed:
            raise TooMany(allowance.retry_after_s)


def wanted_range(headers: Mapping[str, str], size: int) -> range | None:
    """The bytes that a request asks for: empty if the file has none of them, None for all of it.

    Source: RFC 9110, section 14. A condition is answered with the whole file, since files have no validators.
    """
    asked = _RANGE.fullmatch(headers.get("range", ""))
    if asked is None or "if-range" in headers:
        return None
    first, last = asked.groups()
    if not first:
        return range(max(size - int(last), 0), size) if last else None
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return None
    return range(int(first), max(end, int(first)))
