"""Ports of API keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from nomadcrew.core.api_keys.model import ApiKey, NewApiKey
from nomadcrew.core.claims import Claims
from nomadcrew.core.ids import ApiKeyId, UserId


class FoundKey(Struct, frozen=True):
    """A key that is valid, as claims, and the time of its last recorded use."""

    claims: Claims
    last_used_at: datetime | None


class ApiKeys(Protocol):
    async def add(self, user_id: UserId, key: NewApiKey, *, now: datetime) -> None:
        """Store a key of a user.

        Raises:
            NotOnboarded: the user has no profile.
            NotTripMember: the user is not a member of one of the key's trips.
            ApiKeyExists: the user has a key of this name.
            TooManyApiKeys: the user has `MAX_KEYS`.
        """
        ...

    async def of(self, user_id: UserId) -> Sequence[ApiKey]:
        """The user's keys, newest first, also those that expired lately.

        Raises:
            NotOnboarded: the user has no profile.
        """
        ...

    async def delete(self, user_id: UserId, key_id: ApiKeyId) -> None:
        """Delete a key of the user, so that it is refused from now on.

        Raises:
            ApiKeyNotFound: the user has no such key.
        """
        ...

    async def find(self, key_hash: bytes, *, now: datetime) -> FoundKey | None:
        """The key of a hash; None if it is unknown, deleted or expired."""
        ...

    async def record_use(self, key_id: ApiKeyId, *, now: datetime) -> None:
        """Store the time of the last use, unless a later one is stored. Safe to repeat."""
        ...


class KeyVerifier(Protocol):
    async def verify(self, token: str, *, now: datetime) -> Claims:
        """The claims of an API key.

        Raises:
            Unauthenticated: with code `invalid_api_key`: it is malformed, unknown, deleted or expired.
        """
        ...
