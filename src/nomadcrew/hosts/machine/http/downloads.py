"""Serves the links to files on one machine; on AWS, S3 serves its own links."""

from urllib.parse import quote

from nomadcrew.adapters.machine.disk_files import FILES, DiskFiles
from nomadcrew.core.errors import TooMany
from nomadcrew.core.ports import Ports
from nomadcrew.web.call import Reply


class Downloads:
    """Files under `/v1/files/`, for clients with a valid link."""

    def __init__(self, ports: Ports) -> None:
        """Raises TypeError: the files of these ports are not on the disk."""
        if not isinstance(ports.files, DiskFiles):
            raise TypeError("Downloads serves files on this machine's disk only.")
        self._files = ports.files
        self._limits = ports.limits
        self._clock = ports.clock

    async def answer(self, path: str, client_ip: str) -> Reply:
        """The file of a link, as a download, so that browsers neither run nor show it under our origin.

        Raises:
            NotFound: the link is invalid or has expired.
            TooMany: this client address exceeds the rate limit.
        """
        allowance = await self._limits.spend("default", client_ip)
        if not allowance.allowed:
            raise TooMany(allowance.retry_after_s)
        file = await self._files.follow(path.removeprefix(FILES), now=self._clock())
        return Reply(
            200,
            file.content,
            {
                "content-type": file.kind.value,
                "content-disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
                "content-security-policy": "default-src 'none'; sandbox",
                "cache-control": "private, max-age=900",
            },
        )
