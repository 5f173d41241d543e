"""Claims of a verified credential. Most requests need no other module of this folder."""

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from nomadcrew.core.errors import Forbidden
from nomadcrew.core.ids import ApiKeyId, SessionId, TripId, UserId

API_KEY_PREFIX = "nck_"


class KeyScope(Struct, frozen=True):
    """The rights of an API key: of its user, on `trips` only unless that is None, and to read unless `writes`."""

    id: ApiKeyId
    writes: bool
    trips: frozenset[TripId] | None = None


class Claims(Struct, frozen=True):
    """The claims of a verified access token about its user, or of an API key.

    `metadata` is the issuer's `user_metadata`; our own tokens have none. `key` is set for API keys, which have no
    session.
    """

    user_id: UserId
    expires_at: datetime
    email: str | None = None
    username: str | None = None
    is_admin: bool = False
    session_id: SessionId | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    key: KeyScope | None = None

    @property
    def spender(self) -> str:
        """The holder of the rate limits: a key has its own, so that a program leaves its user's phone alone."""
        return str(self.user_id) if self.key is None else f"key/{self.key.id}"


def require_scope(key: KeyScope, *, accepted: bool, mutates: bool, trip_id: TripId | None) -> None:
    """Pass if a key may make a request. `trip_id` is the trip of the path, None without a valid one.

    Raises:
        Forbidden: the route takes no keys, the key may only read, or the key is limited to other trips.
    """
    if not accepted:
        raise Forbidden("This request needs a sign-in; API keys are not accepted.", code="api_key_not_accepted")
    if mutates and not key.writes:
        raise Forbidden("This API key may only read.", code="api_key_read_only")
    if key.trips is not None and trip_id not in key.trips:
        raise Forbidden("This API key is limited to other trips.", code="api_key_other_trips")
