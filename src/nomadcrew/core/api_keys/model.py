"""API keys as their users see them, and their limits."""

from datetime import datetime, timedelta

from msgspec import Struct

from nomadcrew.core.errors import Conflict, NotFound
from nomadcrew.core.ids import ApiKeyId, TripId

MAX_KEYS = 25
MAX_NAME = 100
MAX_TRIPS = 50
MAX_LIFETIME = timedelta(days=365)
USE_RESOLUTION = timedelta(minutes=1)  # the time of the last use is this exact


class NewApiKey(Struct, frozen=True):
    """A key to store. Only the hash of its text is stored."""

    id: ApiKeyId
    hash: bytes
    name: str
    writes: bool
    trips: tuple[TripId, ...] | None
    expires_at: datetime


class ApiKey(Struct, frozen=True):
    """A key in the list of its user. `trips` is None for all trips."""

    id: ApiKeyId
    name: str
    writes: bool
    trips: tuple[TripId, ...] | None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None


class ApiKeyNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("API key", code="api_key_not_found")


class ApiKeyExists(Conflict):
    code = "api_key_exists"
    text = "You have an API key of this name. Choose another name, or delete that key."


class TooManyApiKeys(Conflict):
    code = "too_many_api_keys"
    text = f"You can have at most {MAX_KEYS} API keys. Delete one first."
