"""What a link to a file leads to on one machine; elsewhere the store answers its links itself."""

from urllib.parse import quote

from nomadcrew.adapters.machine.disk_files import FILES, DiskFiles
from nomadcrew.core.errors import TooMany
from nomadcrew.core.ports import Ports
from nomadcrew.web.call import Reply


class Downloads:
    """Files under `/v1/files/`, for whoever has a link that has not ended."""

    def __init__(self, ports: Ports) -> None:
        """Raises TypeError: the files of these ports are elsewhere."""
        if not isinstance(ports.files, DiskFiles):
            raise TypeError("Only files on this machine's disk are given out by it.")
        self._files = ports.files
        self._limits = ports.limits
        self._clock = ports.clock

    async def answer(self, path: str, client_ip: str) -> Reply:
        """The file a path leads to, as a download: nothing in it is ever run or shown as ours.

        Raises:
            NotFound: it leads nowhere, or no longer.
            TooMany: this address asks too often.
        """
        allowance = await self._limits.take("default", client_ip)
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
