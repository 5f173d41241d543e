"""Claims of a verified access token. Most requests need no other module of this folder."""

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from nomadcrew.core.ids import SessionId, UserId


class Claims(Struct, frozen=True):
    """The claims of a verified access token about its user.

    `metadata` is the issuer's `user_metadata`; our own tokens have none.
    """

    user_id: UserId
    expires_at: datetime
    email: str | None = None
    username: str | None = None
    is_admin: bool = False
    session_id: SessionId | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
