"""Creates API keys."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from nomadcrew.core.api_keys.model import MAX_LIFETIME, NewApiKey
from nomadcrew.core.api_keys.ports import ApiKeys
from nomadcrew.core.api_keys.texts import hash_of, new_key_text
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import ApiKeyId, NewId, TripId, UserId

# Clocks of clients may be behind: a year from their present is a little more than a year from ours.
_SKEW = timedelta(days=1)


class CreatedKey(Struct, frozen=True):
    """A stored key with its text, which is shown once."""

    key: NewApiKey
    text: str
    created_at: datetime


async def create_key(
    user_id: UserId,
    name: str,
    *,
    writes: bool,
    trips: Sequence[TripId] | None,
    expires_at: datetime | None,
    api_keys: ApiKeys,
    new_id: NewId,
    now: datetime,
) -> CreatedKey:
    """Create a key for the user's trips, or for some of them. Without `expires_at` it lasts a year, the maximum.

    Raises:
        Invalid: the end is not in the coming year.
        DomainError: as `ApiKeys.add` says.
    """
    if expires_at is not None and not now < expires_at <= now + MAX_LIFETIME + _SKEW:
        raise Invalid("`expiresAt` must be a time within the next year.", code="invalid_api_key_expiry")
    text = new_key_text()
    key_hash = hash_of(text)
    assert key_hash is not None
    chosen = None if trips is None else tuple(dict.fromkeys(trips))
    key = NewApiKey(ApiKeyId(new_id()), key_hash, name, writes, chosen, expires_at or now + MAX_LIFETIME)
    await api_keys.add(user_id, key, now=now)
    return CreatedKey(key, text, now)
