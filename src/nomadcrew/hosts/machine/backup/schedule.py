"""Backups on a schedule: a running host writes them to a folder and deletes the oldest."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nomadcrew.core.clock import Clock
from nomadcrew.hosts.machine.errors import StartupError

log = logging.getLogger("nomadcrew.backups")

RETRY = timedelta(minutes=10)
_FORMAT = "nomadcrew-%Y%m%dT%H%M%SZ.tar"
# Of a backup that was interrupted.
_LEFTOVER = re.compile(r"\.nomadcrew-\d{8}T\d{6}Z\.tar\.[0-9a-f]{8}\.(part|dump)")

# Writes a backup to a new file; raises `StartupError` with the reason.
MakeBackup = Callable[[Path], Awaitable[None]]


class ScheduledBackups:
    """Writes a backup whenever the newest one in a folder is too old. Other files in the folder are left alone."""

    def __init__(
        self,
        folder: Path,
        make: MakeBackup,
        *,
        every: timedelta,
        keep: int,
        clock: Clock,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._folder = folder
        self._make = make
        self._every = every
        self._keep = keep
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        while True:
            wait = self._due() - self._clock()
            if wait > timedelta(0):
                await self._sleep(wait.total_seconds())
            elif not await self.write():
                await self._sleep(min(RETRY, self._every).total_seconds())

    async def write(self) -> bool:
        """Write a backup and delete the oldest; False if it failed, which is logged."""
        now = self._clock()
        target = self._folder / now.strftime(_FORMAT)
        try:
            await asyncio.to_thread(self._prepare)
            await self._make(target)
            size_bytes = target.stat().st_size
            deleted = await asyncio.to_thread(self._delete_oldest)
        except (OSError, StartupError) as error:
            log.warning("backup failed", extra={"fields": {"reason": str(error)}})
            return False
        fields = {"file": target.name, "bytes": size_bytes, "deleted": deleted}
        log.info("backup written", extra={"fields": fields})
        return True

    def _due(self) -> datetime:
        try:
            written = self._backups()
        except OSError:
            written = []  # writing one creates the folder, or logs why it cannot
        return written[-1][0] + self._every if written else self._clock()

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            if _LEFTOVER.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def _delete_oldest(self) -> int:
        old = self._backups()[: -self._keep]
        for _, path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def _backups(self) -> list[tuple[datetime, Path]]:
        """The backups with their times, oldest first; without those of the future, which a wrong clock wrote."""
        now = self._clock()
        times = ((_written_at(path), path) for path in self._folder.iterdir())
        return sorted((at, path) for at, path in times if at is not None and at <= now)


def _written_at(path: Path) -> datetime | None:
    """The time in the name of a scheduled backup; None for other files."""
    try:
        return datetime.strptime(path.name, _FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
