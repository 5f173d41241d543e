"""Verifies API keys, and records that they are used."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from nomadcrew.core.api_keys.model import USE_RESOLUTION
from nomadcrew.core.api_keys.ports import ApiKeys
from nomadcrew.core.api_keys.texts import hash_of
from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import Unauthenticated
from nomadcrew.core.ids import ApiKeyId

RecordUse = Callable[[ApiKeyId, datetime], Awaitable[None]]


class ApiKeyVerifier:
    """`KeyVerifier` on stored keys. `record_use` is called once a minute for a key in use."""

    def __init__(self, api_keys: ApiKeys, record_use: RecordUse) -> None:
        self._api_keys = api_keys
        self._record_use = record_use

    async def verify(self, token: str, *, now: datetime) -> Claims:
        key_hash = hash_of(token)
        found = None if key_hash is None else await self._api_keys.find(key_hash, now=now)
        if found is None or found.claims.key is None:
            raise Unauthenticated("The API key is not valid, or has ended.", code="invalid_api_key")
        if found.last_used_at is None or now - found.last_used_at >= USE_RESOLUTION:
            await self._record_use(found.claims.key.id, now)
        return found.claims
