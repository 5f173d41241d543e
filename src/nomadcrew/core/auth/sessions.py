"""Sessions: refresh tokens that rotate, and the detection of their reuse."""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from nomadcrew.core.auth.errors import InvalidCredentials, InvalidRefreshToken
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.auth.model import (
    ACCESS_LIFETIME,
    MAX_USER_AGENT,
    REFRESH_LIFETIME,
    Account,
    ListedSession,
    Session,
    SignedIn,
)
from nomadcrew.core.auth.ports import Accounts, DeviceId, Sessions, Tokens
from nomadcrew.core.claims import Claims
from nomadcrew.core.ids import NewId, SessionId, UserId


async def open_session(
    account: Account,
    origin: Origin,
    *,
    accounts: Accounts,
    sessions: Sessions,
    tokens: Tokens,
    new_id: NewId,
    now: datetime,
) -> SignedIn:
    """Open a session for one more device. A mail tells the user of a device of a new kind.

    A deletion of the account is cancelled.

    Raises:
        InvalidCredentials: the erasure of the account has begun.
    """
    user_agent = origin.user_agent[:MAX_USER_AGENT]
    is_known = (
        origin.device_token is not None
        and tokens.read_device_token(origin.device_token, account.user_id) is not None
    )
    may_sign_in = await accounts.note_device(
        account.user_id, _kind_of(user_agent), user_agent, DeviceId(new_id()), is_known=is_known, now=now
    )
    if not may_sign_in:
        raise InvalidCredentials
    refresh_token = tokens.new_refresh_token()
    session = Session(SessionId(new_id()), account, now + REFRESH_LIFETIME)
    await sessions.open(session, hash_of(refresh_token), now=now, user_agent=user_agent)
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


async def list_sessions(user_id: UserId, *, sessions: Sessions, now: datetime) -> Sequence[ListedSession]:
    return await sessions.list_open(user_id, now=now)


async def end_session(
    user_id: UserId, session_id: SessionId, *, sessions: Sessions, tokens: Tokens, now: datetime
) -> None:
    """End a session of the user: its tokens are refused and its sockets close.

    Raises:
        NotFound: the user has no such open session.
    """
    await sessions.end(user_id, session_id, now=now)
    await tokens.revoke(session_id, now=now)


async def end_other_sessions(claims: Claims, *, sessions: Sessions, tokens: Tokens, now: datetime) -> None:
    """End all sessions of the caller but the one of the claims. Safe to repeat."""
    for session_id in await sessions.end_others(claims.user_id, claims.session_id, now=now):
        await tokens.revoke(session_id, now=now)


def hash_of(refresh_token: str) -> bytes:
    """The stored hash of a refresh token. The token has 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(refresh_token.encode()).digest()


def _kind_of(user_agent: str) -> bytes:
    """The hash of a User-Agent without its numbers: a new version of a program is no new device."""
    return hashlib.sha256(re.sub(r"[\d._]+", "", user_agent).encode()).digest()


async def _signed_in(session: Session, refresh_token: str, tokens: Tokens, now: datetime) -> SignedIn:
    access_token = await tokens.issue(session.account, session.id, now=now)
    lifetime_s = int(ACCESS_LIFETIME.total_seconds())
    return SignedIn(access_token, refresh_token, lifetime_s, session.account.profile)
