"""Bodies of API keys: /v1/auth/keys."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from nomadcrew.core.api_keys.model import MAX_NAME, MAX_TRIPS, ApiKey
from nomadcrew.core.api_keys.service import CreatedKey
from nomadcrew.core.ids import TripId

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME, pattern=r"\S")]
Moment = Annotated[datetime, Meta(tz=True)]


class Scope(StrEnum):
    """`read` admits GET, `write` every method."""

    READ = "read"
    WRITE = "write"


class NewApiKeyIn(Struct, rename="camel"):
    """A key for some trips, or without `trip_ids` for all that its user may do. It lasts a year at most."""

    name: Name
    scope: Scope
    trip_ids: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_TRIPS)] | None = None
    expires_at: Moment | None = None

    @property
    def trips(self) -> list[TripId] | None:
        return None if self.trip_ids is None else [TripId(trip_id) for trip_id in self.trip_ids]


class ApiKeyView(Struct, rename="camel"):
    """A key without its text. A key for all trips names none."""

    id: UUID
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime
    trip_ids: list[UUID] | UnsetType = UNSET
    last_used_at: datetime | UnsetType = UNSET


class CreatedApiKeyView(ApiKeyView, kw_only=True):
    """A new key. `key` is its text, for the header `Authorization: Bearer`; it is shown this once."""

    key: str


class ApiKeysView(Struct):
    keys: list[ApiKeyView]


def api_keys_view(keys: Sequence[ApiKey]) -> ApiKeysView:
    return ApiKeysView(
        [
            ApiKeyView(
                key.id,
                key.name,
                _scope(writes=key.writes),
                key.created_at,
                key.expires_at,
                UNSET if key.trips is None else list(key.trips),
                key.last_used_at or UNSET,
            )
            for key in keys
        ]
    )


def created_key_view(created: CreatedKey) -> CreatedApiKeyView:
    key = created.key
    return CreatedApiKeyView(
        key.id,
        key.name,
        _scope(writes=key.writes),
        created.created_at,
        key.expires_at,
        UNSET if key.trips is None else list(key.trips),
        key=created.text,
    )


def _scope(*, writes: bool) -> Scope:
    return Scope.WRITE if writes else Scope.READ
