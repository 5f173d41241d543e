"""Sessions: refresh tokens that rotate, and the detection of their reuse."""

import hashlib
from datetime import datetime

from msgspec.structs import replace

from nomadcrew.core.auth.errors import InvalidRefreshToken
from nomadcrew.core.auth.model import ACCESS_LIFETIME, REFRESH_LIFETIME, Account, Session, SignedIn
from nomadcrew.core.auth.ports import Sessions, Tokens
from nomadcrew.core.ids import NewId, SessionId


async def open_session(
    account: Account, *, sessions: Sessions, tokens: Tokens, new_id: NewId, now: datetime
) -> SignedIn:
    """Open a session for one more device."""
    refresh_token = tokens.new_refresh_token()
    session = Session(SessionId(new_id()), account, now + REFRESH_LIFETIME)
    await sessions.open(session, hash_of(refresh_token), now=now)
    signed_in = await _signed_in(session, refresh_token, tokens, now)
    return replace(signed_in, device_token=tokens.device_token(account.user_id))


async def refresh(refresh_token: str, *, sessions: Sessions, tokens: Tokens, now: datetime) -> SignedIn:
    """Exchange a refresh token for new tokens.

    A repeat, after a lost reply, gets the same refresh token: a family has one newest token, so that a thief and
    the victim cannot both go on.

    Raises:
        InvalidRefreshToken: the token is unknown, expired or reused. Reuse also ends the session.
    """
    fresh = tokens.next_refresh_token(refresh_token)
    try:
        session = await sessions.rotate(
            hash_of(refresh_token), hash_of(fresh), now=now, expires_at=now + REFRESH_LIFETIME
        )
    except InvalidRefreshToken as refusal:
        if refusal.ended is not None:
            await tokens.revoke(refusal.ended, now=now)
        raise
    return await _signed_in(session, fresh, tokens, now)


async def sign_out(refresh_token: str, *, sessions: Sessions, tokens: Tokens, now: datetime) -> None:
    """End the session of a refresh token. Safe to repeat."""
    ended = await sessions.close(hash_of(refresh_token), now=now)
    if ended is not None:
        await tokens.revoke(ended, now=now)


def hash_of(refresh_token: str) -> bytes:
    """The stored hash of a refresh token. The token has 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(refresh_token.encode()).digest()


async def _signed_in(session: Session, refresh_token: str, tokens: Tokens, now: datetime) -> SignedIn:
    access_token = await tokens.issue(session.account, session.id, now=now)
    lifetime_s = int(ACCESS_LIFETIME.total_seconds())
    return SignedIn(access_token, refresh_token, lifetime_s, session.account.profile)
