"""What a verified token says; every request needs it, and most need no more of identity."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nomadcrew.core.ids import SessionId, UserId


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified access token says about its bearer.

    `metadata` is the issuer's `user_metadata`; tokens of our own carry none.
    """

    user_id: UserId
    expires_at: datetime
    email: str | None = None
    username: str | None = None
    is_admin: bool = False
    session_id: SessionId | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
