"""Records the uses of API keys beside the requests that use them."""

import asyncio
import logging
from datetime import datetime

from nomadcrew.core.api_keys.ports import ApiKeys
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import ApiKeyId

log = logging.getLogger("nomadcrew.api_keys")


class LaterUses:
    """Starts at most one write per key at a time; one that fails is left to the key's next use."""

    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys
        self._writing: dict[ApiKeyId, asyncio.Task[None]] = {}

    async def record(self, key_id: ApiKeyId, now: datetime) -> None:
        if key_id in self._writing:
            return
        task = asyncio.create_task(self._write(key_id, now))
        self._writing[key_id] = task
        task.add_done_callback(lambda _: self._writing.pop(key_id, None))

    async def written(self) -> None:
        """Wait until the writes that were started have ended."""
        await asyncio.gather(*self._writing.values())

    async def _write(self, key_id: ApiKeyId, now: datetime) -> None:
        try:
            await self._api_keys.record_use(key_id, now=now)
        except Unavailable as error:
            log.warning("Use of an API key not recorded", extra={"fields": {"reason": error.details}})
