"""Flags in a file, which is reloaded when it changes."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from nomadcrew.wire.flags import flags_in

log = logging.getLogger("nomadcrew.flags")

LOOK_EVERY_S = 5.0


class FileFlags:
    """`Flags` from `{"registration": {"enabled": false}}`; a missing file has no flags."""

    def __init__(self, file: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._monotonic = monotonic
        self._reload_at_s = 0.0
        self._version: tuple[int, int] | None = None
        self._flags: dict[str, bool] = {}

    async def enabled(self, name: str, *, otherwise: bool) -> bool:
        now_s = self._monotonic()
        if now_s >= self._reload_at_s:
            self._reload_at_s = now_s + LOOK_EVERY_S
            self._reload()
        return self._flags.get(name, otherwise)

    def _reload(self) -> None:
        try:
            status = self._file.stat()
            version = (status.st_mtime_ns, status.st_size)
            if version != self._version:
                self._version = version
                self._flags = flags_in(self._file.read_bytes())
        except FileNotFoundError:
            self._version, self._flags = None, {}
        except (OSError, ValueError) as error:
            log.warning("flags unreadable, keeping the previous ones", extra={"fields": {"reason": str(error)}})
