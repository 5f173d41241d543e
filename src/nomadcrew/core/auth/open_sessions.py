"""Refuses access tokens of sessions that have ended, where the tokens themselves are verified elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nomadcrew.core.errors import Unauthenticated

if TYPE_CHECKING:
    from nomadcrew.core.auth.ports import OpenSessions
    from nomadcrew.core.claims import Claims


async def require_open(claims: Claims, open_sessions: OpenSessions) -> None:
    """Pass if the session of these verified claims is open, or if another issuer keeps it.

    Raises:
        Unauthenticated: the session has ended.
        Unavailable: see the port.
    """
    if claims.session_id is None or await open_sessions.is_open(claims.user_id, claims.session_id):
        return
    raise Unauthenticated("This session has ended. Sign in again.", code="auth_failed")
